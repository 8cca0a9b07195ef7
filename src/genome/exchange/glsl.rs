//! A CPPN as a fragment shader: the function `pareidolia(point)`, and a `mainImage` as Shadertoy calls it.
//!
//! A pixel is that of the run within one grey level where single precision and the GPU's exponential go: sums are not fused, and no step
//! is rounded as on the CPU. In colour, the byte of the hue may turn where it lies on the edge of two.

use super::{Net, Operand, Settings, Specimen, json::activation_name, number};
use crate::genome::cppn::Activation;
use std::fmt::Write;

const INPUTS: [&str; 4] = ["x", "y", "d", "1.0"];

/// The shader of `specimen`, in GLSL that both OpenGL (from 1.30 on) and WebGL 2 take.
///
/// # Errors
/// If it is no CPPN, or takes more than can be drawn.
pub fn text(specimen: &Specimen) -> Result<String, String> {
    let (graph, Settings { normalise, max_weight }) = specimen.cppn("shader")?;
    let net = Net::new(graph, max_weight)?;
    let names = net.names();
    let canvas = specimen.canvas;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "// {}\n// A CPPN of {} nodes and {} edges that pareidolia evolved, after {} synchronous steps of all nodes. On shadertoy.com it runs as it is;\n\
         // elsewhere call pareidolia(point), or declare `uniform vec3 iResolution;` and call mainImage.\n\n",
        specimen.title(),
        graph.n_nodes(),
        graph.edges.len(),
        net.steps
    );
    let _ = write!(
        out,
        "// Width and height of the image that the network was shown, in pixels.\nconst vec2 CANVAS = vec2({}.0, {}.0);\n\n",
        canvas.width, canvas.height
    );
    for activation in Activation::ALL {
        if net.values.iter().any(|value| graph.activations[value.node] == activation) {
            out.push_str(function(activation));
        }
    }
    if canvas.channels == 3 {
        out.push_str(COLOUR);
    }
    out.push_str("// What is drawn at a point of the canvas, in pixels: (0, 0) is the middle of the first one at the top left.\n");
    out.push_str("vec3 pareidolia(vec2 point) {\n");
    out.push_str("    vec2 centred = 2.0 * point / max(CANVAS - 1.0, 1.0) - 1.0;\n");
    let reads = |input: usize| {
        net.values.iter().flat_map(|value| &value.terms).any(|&(operand, _)| operand == Operand::Input(input))
    };
    let position = if normalise { "centred" } else { "point" };
    for (input, value) in
        [format!("{position}.x"), format!("{position}.y"), "length(centred)".to_owned()].iter().enumerate()
    {
        if reads(input) {
            let _ = writeln!(out, "    float {} = {value};", INPUTS[input]);
        }
    }
    for (value, name) in net.values.iter().zip(&names) {
        let terms = value.terms.iter().map(|&(operand, weight)| match operand {
            Operand::Input(3) => number(weight),
            Operand::Input(input) => format!("{} * {}", number(weight), INPUTS[input]),
            Operand::Value(index) => format!("{} * {}", number(weight), names[index]),
        });
        let sum = sum(terms);
        let _ = writeln!(out, "    float {name} = {}({sum});", activation_name_in_code(graph.activations[value.node]));
    }
    match net.outputs[..] {
        [grey] => {
            let _ = writeln!(out, "    return vec3(floor(255.0 * abs({})) / 255.0);\n}}\n", names[grey]);
        }
        [hue, lightness, saturation] => {
            let byte = |output: usize| format!("floor(255.0 * abs({}))", names[output]);
            let _ = writeln!(out, "    return colour({}, {}, {});\n}}\n", byte(hue), byte(lightness), byte(saturation));
        }
        _ => unreachable!("one output or three"),
    }
    out.push_str(MAIN_IMAGE);
    Ok(out)
}

/// `terms`, of which some begin with a minus, as a sum.
pub(super) fn sum(terms: impl Iterator<Item = String>) -> String {
    let mut sum = String::new();
    for term in terms {
        match term.strip_prefix('-') {
            _ if sum.is_empty() => sum = term,
            Some(positive) => sum += &format!(" - {positive}"),
            None => sum += &format!(" + {term}"),
        }
    }
    if sum.is_empty() { "0.0".to_owned() } else { sum }
}

/// What programs call the function of an activation.
fn activation_name_in_code(activation: Activation) -> &'static str {
    match activation {
        Activation::Linear => "clipped",
        other => activation_name(other),
    }
}

fn function(activation: Activation) -> &'static str {
    match activation {
        Activation::Sine => {
            "// The sine, of an argument brought near 0 first: GPUs' own are rough far from it.\n\
             float sine(float p) {\n    \
                 float k = floor(p / 3.14159265359 + 0.5);\n    \
                 float r = (p - k * 3.140625) - k * 0.000967653589793;\n    \
                 return sin(r) * (1.0 - 2.0 * mod(k, 2.0));\n\
             }\n\n"
        }
        Activation::Sigmoid => {
            "// 2 / (1 + exp(-p)) - 1\n\
             float sigmoid(float p) {\n    \
                 float e = exp(-abs(p));\n    \
                 return sign(p) * (1.0 - e) / (1.0 + e);\n\
             }\n\n"
        }
        Activation::Gaussian => "float gaussian(float p) {\n    return exp(-min(p * p, 88.0));\n}\n\n",
        Activation::Linear => "float clipped(float p) {\n    return clamp(p, -3.0, 3.0) / 3.0;\n}\n\n",
    }
}

const COLOUR: &str = "// The colour of 8-bit hue (of which 180 are the circle), lightness and saturation.
vec3 colour(float hue, float lightness, float saturation) {
    float l = lightness / 255.0;
    float s = saturation / 255.0;
    float high = l <= 0.5 ? l * (1.0 + s) : l + s - l * s;
    float low = 2.0 * l - high;
    float h = hue / 30.0;
    if (h >= 6.0) { h -= 6.0; }
    float sector = floor(h);
    float rising = h - sector;
    float middle = low + (high - low) * (mod(sector, 2.0) < 0.5 ? rising : 1.0 - rising);
    if (sector < 1.0) { return vec3(high, middle, low); }
    if (sector < 2.0) { return vec3(middle, high, low); }
    if (sector < 3.0) { return vec3(low, high, middle); }
    if (sector < 4.0) { return vec3(low, middle, high); }
    if (sector < 5.0) { return vec3(middle, low, high); }
    return vec3(high, low, middle);
}

";

const MAIN_IMAGE: &str = "// The picture as large as it fits, in the middle; Shadertoy counts rows upwards.
void mainImage(out vec4 fragColor, in vec2 fragCoord) {
    float scale = min(iResolution.x / CANVAS.x, iResolution.y / CANVAS.y);
    vec2 point = (fragCoord - 0.5 * iResolution.xy) / scale;
    point = vec2(point.x, -point.y) + 0.5 * CANVAS - 0.5;
    bool inside = point.x >= -0.5 && point.y >= -0.5 && point.x <= CANVAS.x - 0.5 && point.y <= CANVAS.y - 0.5;
    fragColor = vec4(inside ? pareidolia(point) : vec3(0.0), 1.0);
}
";
