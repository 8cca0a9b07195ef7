//! A CPPN as a Python program that needs nothing but Python: `draw(x, y)`, and `python3 elite.py elite.pgm` to write the picture.
//!
//! Single precision is imitated: each operation is rounded to an f32 where the program rounds it, the elementary functions are those of
//! [`crate::math`] with their coefficients. What is left is that a sum of a product is rounded twice, once to f64 and then to f32, which in
//! one of some 2^29 operations is another last bit: pictures are the same within one grey level, and nearly always the same.

use super::{Net, Operand, Settings, Specimen};
use crate::genome::cppn::Activation;
use crate::math::{EXP, LN_2_LOW, PI_LOW, PI_MID, SIN};
use std::f32::consts::{FRAC_1_PI, LN_2, LOG2_E, PI};
use std::fmt::Write;

/// The program of `specimen`.
///
/// # Errors
/// If it is no CPPN, or takes more than can be drawn.
pub fn text(specimen: &Specimen) -> Result<String, String> {
    let (graph, Settings { normalise, max_weight }) = specimen.cppn("Python program")?;
    let net = Net::new(graph, max_weight)?;
    let names = net.names();
    let canvas = specimen.canvas;
    let (picture, pixel) = if canvas.channels == 1 { ("pgm", "the grey") } else { ("ppm", "red, green and blue") };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "#!/usr/bin/env python3\n# {}\n# A CPPN of {} nodes and {} edges that pareidolia evolved, after {} synchronous steps of all nodes.\n#\n\
         #   python3 FILE.py picture.{picture}                 the picture that the network was shown\n\
         #   python3 FILE.py picture.{picture} WIDTH HEIGHT    the same at another size\n\
         #\n\
         # draw(x, y) is {pixel} at a point, in pixels of the image that the network was shown.\n\
         import math\nimport struct\nimport sys\n\n\
         WIDTH, HEIGHT, CHANNELS = {}, {}, {}\n\n",
        specimen.title(),
        graph.n_nodes(),
        graph.edges.len(),
        net.steps,
        canvas.width,
        canvas.height,
        canvas.channels
    );
    out.push_str(
        "_F32 = struct.Struct(\"<f\")\n\n\n\
         def f32(value):\n    \"\"\"The single precision number nearest to value.\"\"\"\n    return _F32.unpack(_F32.pack(value))[0]\n\n\n\
         def fma(a, b, c):\n    return f32(a * b + c)\n\n\n\
         def polynomial(x, coefficients):\n    \
             y = coefficients[-1]\n    \
             for c in reversed(coefficients[:-1]):\n        y = fma(y, x, c)\n    \
             return y\n\n\n",
    );
    let exponential = [Activation::Sigmoid, Activation::Gaussian];
    let has = |activation: Activation| net.values.iter().any(|value| graph.activations[value.node] == activation);
    if exponential.into_iter().any(has) {
        let _ = write!(out, "EXP = {}\n\n\n", list(&EXP));
    }
    for activation in Activation::ALL.into_iter().filter(|&activation| has(activation)) {
        out.push_str(&function(activation));
    }
    if canvas.channels == 3 {
        out.push_str(COLOUR);
    }
    let centred =
        |name: &str, side: usize| format!("    {name}n = f32(f32(2.0 * {name} / {}.0) - 1.0)\n", (side - 1).max(1));
    out.push_str("def draw(x, y):\n    x, y = f32(x), f32(y)\n");
    out.push_str(&centred("x", canvas.width));
    out.push_str(&centred("y", canvas.height));
    out.push_str("    d = f32(math.sqrt(f32(f32(xn * xn) + f32(yn * yn))))\n");
    if normalise {
        out.push_str("    x, y = xn, yn\n");
    }
    const INPUTS: [&str; 4] = ["x", "y", "d", "1.0"];
    for (value, name) in net.values.iter().zip(&names) {
        let read = |operand: Operand| match operand {
            Operand::Input(input) => INPUTS[input],
            Operand::Value(index) => &names[index],
        };
        // Sums of many terms in several lines: Python nests no more than some two hundred calls.
        let mut sum = "0.0".to_owned();
        for (at, &(operand, weight)) in value.terms.iter().enumerate() {
            sum = match at {
                0 => format!("f32({} * {})", f64::from(weight), read(operand)),
                _ => format!("fma({}, {}, {sum})", f64::from(weight), read(operand)),
            };
            if at % 16 == 15 {
                let _ = writeln!(out, "    p = {sum}");
                "p".clone_into(&mut sum);
            }
        }
        let function = match graph.activations[value.node] {
            Activation::Sine => "sine",
            Activation::Sigmoid => "sigmoid",
            Activation::Gaussian => "gaussian",
            Activation::Linear => "clipped",
        };
        let _ = writeln!(out, "    {name} = {function}({sum})");
    }
    let byte = |output: &usize| format!("int(f32(255.0 * abs({})))", names[*output]);
    let bytes: Vec<String> = net.outputs.iter().map(byte).collect();
    match canvas.channels {
        1 => drop(write!(out, "    return {}\n\n\n", bytes[0])),
        _ => drop(write!(out, "    return colour({})\n\n\n", bytes.join(", "))),
    }
    out.push_str(MAIN);
    Ok(out)
}

/// `values` as a Python tuple, each exactly.
fn list(values: &[f32]) -> String {
    let values: Vec<String> = values.iter().map(|&value| f64::from(value).to_string()).collect();
    format!("({})", values.join(", "))
}

fn function(activation: Activation) -> String {
    let [log2_e, ln_2, ln_2_low] = [LOG2_E, LN_2, LN_2_LOW].map(f64::from);
    match activation {
        Activation::Sine => {
            let [inverse, pi, middle, low] = [FRAC_1_PI, PI, PI_MID, PI_LOW].map(f64::from);
            format!(
                "SIN = {}\n\n\n\
                 def sine(p):\n    \
                     a = abs(p)\n    \
                     if a > 1048576.0:\n        return f32(math.sin(p))\n    \
                     k = round(a * {inverse})\n    \
                     r = fma(k, {}, a)\n    r = fma(k, {}, r)\n    r = fma(k, {}, r)\n    \
                     square = f32(r * r)\n    \
                     y = fma(f32(r * square), polynomial(square, SIN), r)\n    \
                     return y if (k % 2 == 0) == (p >= 0.0) else -y\n\n\n",
                list(&SIN),
                -pi,
                -middle,
                -low
            )
        }
        Activation::Sigmoid => format!(
            "def sigmoid(p):\n    \"\"\"2 / (1 + exp(-p)) - 1\"\"\"\n    \
                 c = max(-abs(p), -20.0)\n    \
                 n = round(c * {log2_e})\n    \
                 r = fma(n, {}, c)\n    \
                 q = fma(f32(r * r), polynomial(r, EXP), r)\n    \
                 s = -math.ldexp(1.0, n)\n    \
                 numerator = fma(s, q, f32(1.0 + s))\n    \
                 return math.copysign(f32(numerator / f32(2.0 - numerator)), p)\n\n\n",
            -ln_2
        ),
        Activation::Gaussian => format!(
            "def gaussian(p):\n    \"\"\"exp(-p * p)\"\"\"\n    \
                 x = max(-f32(p * p), -88.0)\n    \
                 n = round(x * {log2_e})\n    \
                 r = fma(n, {}, x)\n    r = fma(n, {}, r)\n    \
                 y = fma(fma(polynomial(r, EXP), r, 1.0), r, 1.0)\n    \
                 return f32(math.ldexp(y, n)) if n > -127 else 0.0\n\n\n",
            -ln_2, -ln_2_low
        ),
        Activation::Linear => format!(
            "def clipped(p):\n    \"\"\"p / 3, between -1 and 1\"\"\"\n    \
                 return f32(min(max(p, -3.0), 3.0) * {})\n\n\n",
            f64::from(1.0_f32 / 3.0)
        ),
    }
}

const COLOUR: &str = "def colour(hue, lightness, saturation):
    \"\"\"Red, green and blue of 8-bit hue (of which 180 are the circle), lightness and saturation.\"\"\"
    l, s = f32(lightness / 255.0), f32(saturation / 255.0)
    high = f32(l * f32(1.0 + s)) if l <= 0.5 else f32(f32(l + s) - f32(l * s))
    low = f32(f32(l + l) - high)
    h = f32(hue / 30.0)
    if h >= 6.0:
        h = f32(h - 6.0)
    sector = int(h)
    rising = f32(h - sector)
    middle = f32(low + f32(f32(high - low) * (rising if sector % 2 == 0 else f32(1.0 - rising))))
    high, middle, low = (round(f32(255.0 * value)) for value in (high, middle, low))
    return (
        (high, middle, low),
        (middle, high, low),
        (low, high, middle),
        (low, middle, high),
        (middle, low, high),
        (high, low, middle),
    )[sector]


";

const MAIN: &str = "def picture(width=WIDTH, height=HEIGHT):
    \"\"\"The pixels, row by row, of so many points spread evenly over the image.\"\"\"
    rows = [row * (HEIGHT - 1) / max(height - 1, 1) for row in range(height)]
    columns = [column * (WIDTH - 1) / max(width - 1, 1) for column in range(width)]
    pixels = bytearray()
    for y in rows:
        for x in columns:
            drawn = draw(x, y)
            pixels.extend((drawn,) if CHANNELS == 1 else drawn)
    return bytes(pixels)


if __name__ == \"__main__\":
    if len(sys.argv) not in (2, 4):
        sys.exit(\"usage: python3 \" + sys.argv[0] + \" PICTURE [WIDTH HEIGHT]\")
    width, height = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) == 4 else (WIDTH, HEIGHT)
    with open(sys.argv[1], \"wb\") as file:
        file.write(b\"P%d\\n%d %d\\n255\\n\" % (5 if CHANNELS == 1 else 6, width, height))
        file.write(picture(width, height))
";
