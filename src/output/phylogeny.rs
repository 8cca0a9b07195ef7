//! What is drawn and written of a lineage: a folder with the pictures of each elite's ancestors, the tree of all of them as Newick, GraphML
//! and SVG, and `lineage.json`.

use crate::error::{Error, Result};
use crate::experiment::lineage::replay::Birth;
use crate::experiment::lineage::report::Report;
use crate::output::contact_sheet::{Cell, Sheet, thousands};
use crate::output::{Image, atomic, confidence_text, locked_folder, pictures};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;

/// The tree of all lines, each individual once. Its parent is the one on the line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    pub title: String,
    /// The last one of the run.
    pub generation: u32,
    pub nodes: BTreeMap<Birth, Node>,
}

/// An individual from whom an elite descends, or which is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub birth: Birth,
    /// `None` in generation 0.
    pub parent: Option<Birth>,
    /// The other one of two parents whose genes were mixed.
    pub other_parent: Option<Birth>,
    /// Whether on some line its class is one that its parent was not the elite of.
    pub switched: bool,
    /// The classes by which lines go on from here.
    pub stood_for: BTreeSet<u32>,
    /// The classes whose elite it is at the end.
    pub tips: Vec<Tip>,
}

/// A class whose elite a node is.
#[derive(Clone, Debug, PartialEq)]
pub struct Tip {
    pub class: u32,
    pub name: String,
    pub confidence: f32,
}

impl Tip {
    /// For people: a class whose number is its name has one.
    fn label(&self) -> String {
        let Tip { class, name, .. } = self;
        if *name == class.to_string() { name.clone() } else { format!("{class} {name}") }
    }
}

/// The pictures of a line.
pub struct Strip<'a> {
    pub class: u32,
    pub n_classes: usize,
    pub name: &'a str,
    /// Its cells have the generation in place of a class, and no names; those are `captions`.
    pub sheet: Sheet<'a>,
    pub captions: Vec<String>,
}

impl Strip<'_> {
    /// Writes its pages into `folder`: `<class>_<name>_ancestors.png`, then `-02.png` and so on.
    fn write(&self, folder: &Path) -> Result<()> {
        let cells = self.sheet.cells.iter().zip(&self.captions);
        let cells = cells.map(|(cell, caption)| Cell { name: caption, ..cell.clone() }).collect();
        let sheet = Sheet { cells, ..self.sheet.clone() };
        let name = format!("{}_ancestors", pictures::class_name(self.class, self.n_classes, self.name));
        (0..sheet.n_pages()).into_par_iter().try_for_each(|page| {
            let Image { canvas, pixels } = sheet.page(page);
            let compression = pictures::compression(pixels.len());
            atomic::write_new(&folder.join(sheet.file_of(&name, page)), |file| {
                pictures::encode_png(file, canvas, &pixels, compression)
            })
        })
    }
}

/// Refuses `path` where there is anything, before the work whose result is to go to it.
///
/// # Errors
/// [`Error::Refused`].
pub fn refuse_occupied(path: &Path) -> Result<()> {
    locked_folder::refuse_occupied(path, "--out")
}

/// Makes the folder `path`, and those above it: what `work` draws, and what it reports. It is there whole or not at all.
///
/// # Errors
/// What `work` says; [`Error::Io`]; [`Error::Refused`] if there is something meanwhile.
pub fn create(
    path: &Path,
    work: impl FnOnce(&mut dyn FnMut(&Strip) -> Result<()>) -> Result<Report>,
) -> Result<Report> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    let mut report = None;
    atomic::create_folder(path, |folder| {
        let done = work(&mut |strip| strip.write(folder))?;
        let text =
            |name: &str, text: &str| atomic::write_new(&folder.join(name), |file| file.write_all(text.as_bytes()));
        text("tree.nwk", &newick(&done.tree))?;
        text("tree.graphml", &graphml(&done.tree))?;
        text("tree.svg", &svg(&done.tree))?;
        text("lineage.json", &to_json(&done))?;
        report = Some(done);
        refuse_occupied(path)
    })?;
    Ok(report.expect("the folder was filled"))
}

/// The text of `lineage.json`.
pub fn to_json(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("a report has a JSON form") + "\n"
}

impl Tree {
    /// The children of each node, the oldest first.
    fn children(&self) -> HashMap<Birth, Vec<Birth>> {
        let mut children: HashMap<Birth, Vec<Birth>> = HashMap::new();
        for node in self.nodes.values() {
            if let Some(parent) = node.parent {
                children.entry(parent).or_default().push(node.birth);
            }
        }
        children
    }

    fn roots(&self) -> impl Iterator<Item = Birth> {
        self.nodes.values().filter(|node| node.parent.is_none()).map(|node| node.birth)
    }
}

/// What an individual is called in files.
fn id((generation, candidate): Birth) -> String {
    format!("g{generation}c{candidate}")
}

/// The tree as Newick: a leaf for each elite, named by its class; lengths in generations between births, 0 from an individual to a class it is
/// the elite of. Individuals from whom only one line goes on are left out. Lines without a common ancestor meet in a root without a name.
pub fn newick(tree: &Tree) -> String {
    let children = tree.children();
    let part = |root| newick_part(tree, &children, root, 0);
    let parts: Vec<String> = tree.roots().map(part).collect();
    format!("({});\n", parts.join(","))
}

fn newick_part(tree: &Tree, children: &HashMap<Birth, Vec<Birth>>, mut birth: Birth, from: u32) -> String {
    let below = |birth: &Birth| children.get(birth).map_or(&[][..], Vec::as_slice);
    while let [only] = below(&birth)
        && tree.nodes[&birth].tips.is_empty()
    {
        birth = *only;
    }
    let (tips, length) = (&tree.nodes[&birth].tips, birth.0 - from);
    let name = |tip: &Tip| format!("'{}'", tip.label().replace('\'', "''").replace(char::is_control, " "));
    if let ([tip], []) = (&tips[..], below(&birth)) {
        return format!("{}:{length}", name(tip));
    }
    let tips = tips.iter().map(|tip| format!("{}:0", name(tip)));
    let parts: Vec<String> =
        tips.chain(below(&birth).iter().map(|child| newick_part(tree, children, *child, birth.0))).collect();
    format!("({}){}:{length}", parts.join(","), id(birth))
}

/// `text` within XML.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn list(classes: impl IntoIterator<Item = u32>) -> String {
    classes.into_iter().map(|class| class.to_string()).collect::<Vec<_>>().join(" ")
}

/// The tree as GraphML: every individual of every line, and the other parents of those whose genes were mixed. Edges go from parent to child.
pub fn graphml(tree: &Tree) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xsi:schemaLocation=\"http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd\">\n",
    );
    for (key, of, kind) in [
        ("generation", "node", "int"),
        ("candidate", "node", "int"),
        ("on_a_line", "node", "boolean"),
        ("classes", "node", "string"),
        ("elite_of", "node", "string"),
        ("names", "node", "string"),
        ("goal_switch", "edge", "boolean"),
        ("other_parent", "edge", "boolean"),
    ] {
        _ = writeln!(text, "  <key id=\"{key}\" for=\"{of}\" attr.name=\"{key}\" attr.type=\"{kind}\"/>");
    }
    _ = writeln!(text, "  <graph id=\"{}\" edgedefault=\"directed\">", escaped(&tree.title));
    let mut node = |birth: Birth, of: Option<&Node>| {
        _ = write!(
            text,
            "    <node id=\"{}\"><data key=\"generation\">{}</data><data key=\"candidate\">{}</data><data key=\"on_a_line\">{}</data>",
            id(birth),
            birth.0,
            birth.1,
            of.is_some()
        );
        if let Some(Node { stood_for, tips, .. }) = of {
            let (classes, elite_of) = (list(stood_for.iter().copied()), list(tips.iter().map(|tip| tip.class)));
            let names: Vec<String> = tips.iter().map(|tip| escaped(&tip.name)).collect();
            _ = write!(text, "<data key=\"classes\">{classes}</data><data key=\"elite_of\">{elite_of}</data>");
            _ = write!(text, "<data key=\"names\">{}</data>", names.join("; "));
        }
        text.push_str("</node>\n");
    };
    tree.nodes.iter().for_each(|(&birth, of)| node(birth, Some(of)));
    let others: BTreeSet<Birth> = tree.nodes.values().filter_map(|node| node.other_parent).collect();
    others.iter().filter(|birth| !tree.nodes.contains_key(birth)).for_each(|&birth| node(birth, None));
    for Node { birth, parent, other_parent, switched, .. } in tree.nodes.values() {
        for (parent, is_other) in
            parent.iter().map(|parent| (parent, false)).chain(other_parent.iter().map(|parent| (parent, true)))
        {
            _ = write!(text, "    <edge source=\"{}\" target=\"{}\">", id(*parent), id(*birth));
            if !is_other {
                _ = write!(text, "<data key=\"goal_switch\">{switched}</data>");
            }
            _ = writeln!(text, "<data key=\"other_parent\">{is_other}</data></edge>");
        }
    }
    text + "  </graph>\n</graphml>\n"
}

// Lengths of the SVG, in its units.
const PLOT: f64 = 1000.0;
const LEFT: f64 = 40.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 56.0;
/// Of a letter of a label, and of a confidence with the space around it.
const LETTER: f64 = 10.0;
const CONFIDENCE: f64 = 92.0;
/// Letters of a label, at most.
const MOST_LETTERS: usize = 24;
/// Between two elites; and of more of them than a page shows.
const ROW: f64 = 30.0;
const CLOSE_ROW: f64 = 18.0;
const ON_A_PAGE: usize = 40;
/// Room that the number of a class beside a node takes.
const NUMBER: f64 = 13.0;

/// The tree as a picture: generations from left to right, logarithmic, since most of what parts lines happens early; an elite a row.
pub fn svg(tree: &Tree) -> String {
    let children = tree.children();
    let below = |birth: &Birth| children.get(birth).map_or(&[][..], Vec::as_slice);
    let last = f64::from(tree.generation.max(1)).ln_1p();
    let x = |generation: u32| LEFT + PLOT * f64::from(generation).ln_1p() / last;
    let n_tips: usize = tree.nodes.values().map(|node| node.tips.len()).sum();
    let row = if n_tips > ON_A_PAGE { CLOSE_ROW } else { ROW };
    // Rows in the order in which a walk through the tree comes to the elites; then each node in the middle of what is below it.
    let (mut tips, mut n) = (HashMap::new(), 0);
    let mut open: Vec<Birth> = tree.roots().collect();
    open.reverse();
    while let Some(birth) = open.pop() {
        for at in 0..tree.nodes[&birth].tips.len() {
            tips.insert((birth, at), TOP + row * (f64::from(n) + 0.5));
            n += 1;
        }
        open.extend(below(&birth).iter().rev());
    }
    let mut y: HashMap<Birth, f64> = HashMap::new();
    for (birth, node) in tree.nodes.iter().rev() {
        let own = (0..node.tips.len()).map(|at| tips[&(*birth, at)]);
        let all: Vec<f64> = own.chain(below(birth).iter().map(|child| y[child])).collect();
        let (least, most) = all.iter().fold((f64::MAX, f64::MIN), |(least, most), &y| (least.min(y), most.max(y)));
        y.insert(*birth, (least + most) / 2.0);
    }

    let letters = tree.nodes.values().flat_map(|node| &node.tips).map(|tip| tip.label().chars().count()).max();
    let labels = LETTER * letters.unwrap_or(0).min(MOST_LETTERS) as f64 + CONFIDENCE;
    let (width, bottom) = (LEFT + PLOT + labels, TOP + row * n_tips as f64);
    let height = bottom + BOTTOM;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"DejaVu Sans, Verdana, Arial, sans-serif\">\n\
         <title>{title}: the tree of its elites</title>\n\
         <style>.line{{stroke:#555;stroke-width:1.5;fill:none}} .held{{stroke:#999;stroke-width:1;stroke-dasharray:2 4}} \
         .grid{{stroke:#e2e2e2;stroke-width:1}} .born{{fill:#0072b2}} .switch{{fill:#d55e00}} \
         .faint{{fill:#6a6a6a;font-size:13px}} .number{{fill:#b04a00;font-size:11px}} .elite{{fill:#222;font-size:14px}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"32\" font-size=\"21\" font-weight=\"bold\" fill=\"#222\">{title}: from whom its elites descend</text>\n\
         <circle class=\"born\" cx=\"{c1}\" cy=\"54\" r=\"3.5\"/><text class=\"faint\" x=\"{t1}\" y=\"58\">a birth on a line</text>\n\
         {diamond}<text class=\"faint\" x=\"{t2}\" y=\"58\">its class is one that its parent did not hold (the class beside it)</text>\n\
         <path class=\"held\" d=\"M{l3} 54h30\"/><text class=\"faint\" x=\"{t3}\" y=\"58\">it holds the class since</text>\n",
        title = escaped(&tree.title),
        c1 = LEFT + 4.0,
        t1 = LEFT + 14.0,
        diamond = diamond(LEFT + 150.0, 54.0),
        t2 = LEFT + 162.0,
        l3 = LEFT + 590.0,
        t3 = LEFT + 626.0,
    );
    for generation in ticks(tree.generation) {
        let (at, label) = (x(generation), thousands(generation.into()));
        _ = writeln!(
            text,
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/><text class=\"faint\" x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{label}</text>",
            bottom + 20.0
        );
    }
    _ = writeln!(
        text,
        "<text class=\"faint\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">generation of birth (logarithmic)</text>",
        LEFT + PLOT / 2.0,
        bottom + 42.0
    );
    for (birth, node) in &tree.nodes {
        if let Some(parent) = node.parent {
            let (from, to) = (x(parent.0), x(birth.0));
            _ = writeln!(text, "<path class=\"line\" d=\"M{from:.1} {:.1}V{:.1}H{to:.1}\"/>", y[&parent], y[birth]);
        }
        for at in 0..node.tips.len() {
            let (from, to, row) = (x(birth.0), LEFT + PLOT, tips[&(*birth, at)]);
            if row != y[birth] {
                _ = writeln!(text, "<path class=\"line\" d=\"M{from:.1} {:.1}V{row:.1}\"/>", y[birth]);
            }
            _ = writeln!(text, "<path class=\"held\" d=\"M{from:.1} {row:.1}H{to:.1}\"/>");
        }
    }
    let mut numbered: Vec<(f64, f64)> = Vec::new();
    for (birth, node) in &tree.nodes {
        let (at, row) = (x(birth.0), y[birth]);
        let classes = list(node.stood_for.iter().copied());
        let shape = if node.switched {
            diamond(at, row)
        } else {
            format!("<circle class=\"born\" cx=\"{at:.1}\" cy=\"{row:.1}\" r=\"3\"/>")
        };
        let (generation, candidate) = *birth;
        _ = writeln!(
            text,
            "<g><title>generation {generation}, candidate {candidate}: for class {}</title>{shape}</g>",
            classes.replace(' ', ", ")
        );
        let wide = NUMBER + 7.0 * classes.len() as f64;
        let is_free = numbered.iter().rev().all(|&(end, other)| end < at || (other - row).abs() > 1.0);
        if (node.switched || node.parent.is_none()) && node.stood_for.len() <= 3 && is_free {
            _ = writeln!(text, "<text class=\"number\" x=\"{at:.1}\" y=\"{:.1}\">{classes}</text>", row - 6.0);
            numbered.push((at + wide, row));
        }
    }
    for (birth, node) in &tree.nodes {
        for (at, tip) in node.tips.iter().enumerate() {
            let (row, confidence) = (tips[&(*birth, at)] + 5.0, confidence_text(tip.confidence));
            let label: String = tip.label().chars().take(MOST_LETTERS).collect();
            let right = width - 12.0;
            _ = writeln!(
                text,
                "<text class=\"elite\" x=\"{:.1}\" y=\"{row:.1}\" font-weight=\"bold\">{}</text><text class=\"faint\" x=\"{right:.1}\" \
                 y=\"{row:.1}\" text-anchor=\"end\">{confidence}</text>",
                LEFT + PLOT + 10.0,
                escaped(&label)
            );
        }
    }
    text + "</svg>\n"
}

/// A mark of its own shape, for those who do not see its colour.
fn diamond(x: f64, y: f64) -> String {
    format!("<path class=\"switch\" d=\"M{x:.1} {:.1}l5 5l-5 5l-5 -5z\"/>", y - 5.0)
}

/// Generations that the axis names: 0, 1, 2, 5, 10, 20 and so on, and the last one, but for what would stand in its way.
fn ticks(last: u32) -> Vec<u32> {
    let steps = (0..9).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u32.pow(power)));
    // On the logarithmic axis.
    let is_clear =
        |&step: &u32| f64::from(step).ln_1p() < f64::from(last).ln_1p() - 0.045 * f64::from(last.max(1)).ln_1p();
    let mut ticks: Vec<u32> = std::iter::once(0).chain(steps).filter(is_clear).collect();
    ticks.push(last);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of generation 0 `g0c1`, whose child is an elite twice and has a child, an elite too; and of `g0c5`, an elite itself.
    fn tree() -> Tree {
        let node = |birth, parent, tips: &[(u32, &str)]| Node {
            birth,
            parent,
            other_parent: (birth == (9, 2)).then_some((3, 3)),
            switched: birth == (9, 2),
            stood_for: BTreeSet::from([1]),
            tips: tips.iter().map(|&(class, name)| Tip { class, name: name.to_owned(), confidence: 0.5 }).collect(),
        };
        let nodes = [
            node((0, 1), None, &[]),
            node((0, 5), None, &[(3, "jack-o'-lantern <&>")]),
            node((4, 0), Some((0, 1)), &[]),
            node((7, 8), Some((4, 0)), &[(0, "0"), (1, "1")]),
            node((9, 2), Some((7, 8)), &[(2, "2")]),
        ];
        Tree {
            title: "a & b".to_owned(),
            generation: 20,
            nodes: nodes.into_iter().map(|node| (node.birth, node)).collect(),
        }
    }

    #[test]
    fn newick_has_a_leaf_a_class_and_generations_between() {
        assert_eq!(newick(&tree()), "(('0':0,'1':0,'2':2)g7c8:7,'3 jack-o''-lantern <&>':0);\n");
    }

    #[test]
    fn graphml_has_every_individual_and_both_parents() {
        let text = graphml(&tree());
        assert_eq!(text.matches("<node ").count(), 6, "the other parent is there too");
        assert_eq!(text.matches("<edge ").count(), 4);
        assert!(text.contains("<edge source=\"g7c8\" target=\"g9c2\"><data key=\"goal_switch\">true</data>"));
        assert!(text.contains("<edge source=\"g3c3\" target=\"g9c2\"><data key=\"other_parent\">true</data>"));
        assert!(text.contains("jack-o'-lantern &lt;&amp;&gt;"), "{text}");
    }

    #[test]
    fn svg_has_a_row_a_class_and_no_raw_text() {
        let text = svg(&tree());
        assert_eq!(text.matches("class=\"elite\"").count(), 4);
        assert_eq!(text.matches("class=\"held\"").count(), 4 + 1, "and the key");
        assert!(text.contains("a &amp; b") && !text.contains("<&>") && !text.contains("NaN"), "{text}");
    }

    #[test]
    fn axis_names_the_first_and_the_last_generation() {
        assert_eq!(ticks(1001), [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1001]);
        assert_eq!(ticks(1), [0, 1]);
        assert_eq!(ticks(0), [0]);
    }
}
