//! What the kernels take of a multiprocessor, as ptxas reports it.

/// A kernel on an architecture.
#[derive(Default)]
pub struct Resources {
    pub kernel: String,
    pub architecture: String,
    pub registers: u32,
    pub spill_store_bytes: u32,
    pub spill_load_bytes: u32,
    pub stack_bytes: u32,
    /// Static; what a launch adds is not known here.
    pub shared_bytes: u32,
    pub constant_bytes: u32,
    /// Threads of a block at most, as `__launch_bounds__` says.
    pub max_threads: Option<u32>,
}

impl Resources {
    fn is_troubled(&self) -> bool {
        self.spill_store_bytes + self.spill_load_bytes + self.stack_bytes > 0
    }
}

/// Reads what `nvcc -Xptxas -v` printed, and the bounds of blocks from the PTX. Sorted by kernel; a function that is no kernel has
/// a line only if it spills or has a stack frame.
pub fn parse(log: &str, ptx: &str) -> Vec<Resources> {
    let mut all: Vec<Resources> = Vec::new();
    let mut kernel = None; // index of the one being compiled
    let mut function = None; // index of the one whose properties come next
    for line in log.lines() {
        let quoted: Vec<&str> = line.split('\'').collect();
        if line.contains("Compiling entry function") && quoted.len() >= 4 {
            let (name, architecture) = (quoted[1].to_string(), quoted[3].to_string());
            let max_threads = max_threads(ptx, &name);
            all.push(Resources { kernel: name, architecture, max_threads, ..Resources::default() });
            kernel = Some(all.len() - 1);
        } else if let (Some((_, name)), Some(of)) = (line.split_once("Function properties for "), kernel) {
            function = kernel;
            if all[of].kernel != name.trim() {
                let architecture = all[of].architecture.clone();
                all.push(Resources { kernel: name.trim().to_string(), architecture, ..Resources::default() });
                function = Some(all.len() - 1);
            }
        } else if let (true, Some(of)) = (line.contains("bytes stack frame"), function) {
            all[of].stack_bytes = number_before(line, " bytes stack frame");
            all[of].spill_store_bytes = number_before(line, " bytes spill stores");
            all[of].spill_load_bytes = number_before(line, " bytes spill loads");
        } else if let (true, Some(of)) = (line.contains(": Used "), kernel) {
            all[of].registers = number_before(line, " registers");
            all[of].shared_bytes = number_before(line, " bytes smem");
            all[of].stack_bytes = all[of].stack_bytes.max(number_before(line, " bytes cumulative stack size"));
            all[of].constant_bytes = line.split(',').map(|part| number_before(part, " bytes cmem")).sum();
        }
    }
    all.retain(|one| one.registers > 0 || one.is_troubled());
    all.sort_by(|a, b| (&a.kernel, &a.architecture).cmp(&(&b.kernel, &b.architecture)));
    all
}

/// The number that stands right before `unit` in `line`; 0 if there is none.
fn number_before(line: &str, unit: &str) -> u32 {
    let before = line.split_once(unit).map_or("", |(before, _)| before);
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn max_threads(ptx: &str, kernel: &str) -> Option<u32> {
    let (_, entry) = ptx.split_once(&format!(".entry {kernel}("))?;
    let (head, _) = entry.split_once('{')?;
    let (_, bound) = head.split_once(".maxntid ")?;
    bound.lines().next()?.split(',').map(|number| number.trim().parse::<u32>().ok()).product()
}

/// Refuses spills and stack frames but of those that `allowed` lists, a line each: kernel, architecture (or `*`), the reason.
///
/// # Errors
/// A line for each kernel that is refused, or for a line of `allowed` without a reason.
pub fn check(all: &[Resources], allowed: &str) -> Result<(), String> {
    let mut list: Vec<(&str, &str)> = Vec::new();
    for line in allowed.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(kernel), Some(architecture), Some(_reason)) => list.push((kernel, architecture)),
            _ => return Err(format!("`{line}` must be: kernel, architecture or *, the reason")),
        }
    }
    let is_allowed =
        |one: &Resources| list.iter().any(|(k, a)| *k == one.kernel && (*a == "*" || *a == one.architecture));
    let refused: Vec<String> = all
        .iter()
        .filter(|one| one.is_troubled() && !is_allowed(one))
        .map(|one| {
            let Resources { kernel, architecture, stack_bytes, spill_store_bytes, spill_load_bytes, .. } = one;
            format!(
                "{kernel} on {architecture}: {spill_store_bytes} bytes of spill stores, {spill_load_bytes} of spill loads, a stack \
                 frame of {stack_bytes}"
            )
        })
        .collect();
    if refused.is_empty() { Ok(()) } else { Err(refused.join("\n")) }
}

/// The report as JSON, a line a kernel.
pub fn to_json(nvcc: &str, architectures: &[String], all: &[Resources]) -> String {
    let kernels: Vec<String> = all
        .iter()
        .map(|one| {
            let max_threads = one.max_threads.map_or("null".into(), |threads| threads.to_string());
            format!(
                "    {{\"kernel\": {:?}, \"architecture\": {:?}, \"registers\": {}, \"spill_store_bytes\": {}, \
                 \"spill_load_bytes\": {}, \"stack_bytes\": {}, \"shared_bytes\": {}, \"constant_bytes\": {}, \
                 \"max_threads\": {max_threads}}}",
                one.kernel,
                one.architecture,
                one.registers,
                one.spill_store_bytes,
                one.spill_load_bytes,
                one.stack_bytes,
                one.shared_bytes,
                one.constant_bytes,
            )
        })
        .collect();
    format!(
        "{{\n  \"nvcc\": {nvcc:?},\n  \"architectures\": {architectures:?},\n  \"kernels\": [\n{}\n  ]\n}}\n",
        kernels.join(",\n")
    )
}
