//! Makes `crate::tuning` from kernels/common/tuning.cuh, so that a constant of a launch shape has one home.

/// The Rust of `source`: each `constexpr int NAME = VALUE;` a `pub const NAME: u32 = VALUE;`, the comment above it or behind it its
/// documentation. A value is a number or an expression of numbers and of constants above it, which both languages read alike.
///
/// # Errors
/// If a line is none of these, a comment, `#pragma once` or blank: which.
pub fn generate(source: &str) -> Result<String, String> {
    let mut rust = String::new();
    let mut above: Vec<&str> = Vec::new();
    for (line, number) in source.lines().map(str::trim).zip(1..) {
        if let Some(comment) = line.strip_prefix("//") {
            above.push(comment);
            continue;
        }
        if let Some(constant) = line.strip_prefix("constexpr int ") {
            let (name, value, behind) = parse(constant).ok_or_else(|| {
                format!(
                    "line {number}: `{line}` is not of the form `constexpr int NAME = VALUE;`, which Rust reads too"
                )
            })?;
            for comment in above.iter().copied().chain(behind) {
                rust += &format!("///{comment}\n");
            }
            rust += &format!("pub const {name}: u32 = {value};\n");
        } else if !line.is_empty() && line != "#pragma once" {
            return Err(format!("line {number}: `{line}` is no constant; only those and comments stand here"));
        }
        above.clear();
    }
    Ok(rust)
}

/// Name, value, and the comment behind them, of `NAME = VALUE; // comment`.
fn parse(constant: &str) -> Option<(&str, &str, Option<&str>)> {
    let (constant, rest) = constant.split_once(';')?;
    let (name, value) = constant.split_once('=')?;
    let (name, value, rest) = (name.trim(), value.trim(), rest.trim());
    let is_word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let behind = rest.strip_prefix("//");
    let good = !name.is_empty()
        && name.chars().all(is_word)
        && !value.is_empty()
        && value.chars().all(|c| is_word(c) || " +-*/()".contains(c))
        && (rest.is_empty() || behind.is_some());
    good.then_some((name, value, behind))
}
