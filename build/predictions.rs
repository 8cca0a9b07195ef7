//! Makes `crate::predictions` from the headers of the kernels, so that what was predicted stands beside what is measured.
//!
//! A line is of the form
//!
//! ```text
//! // Predicted [KERNEL] RATE UNIT/s at SIZE on DEVICE: the reason
//! //           that goes on
//! ```
//!
//! as in `// Predicted lenet_features_few_f32 7.4e6 genomes/s at 200 on an H100: 27 us`. KERNEL is there where a file has kernels of
//! other names than its own; SIZE is the batch, or what the header says of it.

/// The Rust of all predictions in `sources`: names of .cu files without their ending, and their text.
///
/// # Errors
/// The first line that is not of the form, or that predicts the same as one before.
pub fn generate<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<String, String> {
    let mut rust = String::from("&[\n");
    let mut seen: Vec<(String, u64)> = Vec::new();
    for (stem, text) in sources {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("// Predicted")) {
            let wanted = || {
                format!(
                    "{stem}.cu, line {}: `{line}` is not of the form `// Predicted [KERNEL] RATE UNIT/s at SIZE on DEVICE: reason`",
                    number + 1
                )
            };
            let more = lines[number + 1..].iter().map_while(|line| line.strip_prefix("//            "));
            let whole: Vec<&str> = std::iter::once(&line["// Predicted".len()..]).chain(more).map(str::trim).collect();
            let whole = whole.join(" ");
            let Prediction { kernel, rate, unit, size, device, reason } = parse(&whole).ok_or_else(wanted)?;
            let kernel = kernel.unwrap_or(stem).to_string();
            if seen.contains(&(kernel.clone(), size)) {
                return Err(format!("{stem}.cu, line {}: {kernel} at {size} is predicted twice", number + 1));
            }
            seen.push((kernel.clone(), size));
            rust += &format!(
                "    Prediction {{ kernel: {kernel:?}, rate: {rate:?}, unit: {unit:?}, size: {size}, device: {device:?}, reason: \
                 {reason:?} }},\n"
            );
        }
    }
    Ok(rust + "]\n")
}

struct Prediction<'a> {
    kernel: Option<&'a str>,
    rate: f64,
    unit: &'a str,
    size: u64,
    device: &'a str,
    reason: &'a str,
}

fn parse(text: &str) -> Option<Prediction<'_>> {
    let (head, reason) = text.split_once(": ")?;
    let (head, device) = head.split_once(" on ")?;
    let (rate, size) = head.split_once(" at ")?;
    let words: Vec<&str> = rate.split_whitespace().collect();
    let (kernel, rate, unit) = match words[..] {
        [rate, unit] => (None, rate, unit),
        [kernel, rate, unit] => (Some(kernel), rate, unit),
        _ => return None,
    };
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let rate: f64 = rate.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0)?;
    let device = device.strip_prefix("an ").or(device.strip_prefix("a "))?.trim();
    let good = kernel.is_none_or(is_name) && unit.ends_with("/s") && !device.is_empty() && !reason.trim().is_empty();
    let size = size.trim().parse().ok()?;
    good.then_some(Prediction { kernel, rate, unit, size, device, reason: reason.trim() })
}
