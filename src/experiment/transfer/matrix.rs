//! The matrix (spec, section 8): what the images made against one network are to others.
//!
//! All shares are of images; `s` is the network that an image was made against, `t` the one that it is shown to, `c` the class that it was
//! made for. A network's *label* is its most probable class, of equals the one with the lowest number; its *confidence* the probability of
//! its label.
//!
//! | measure | of | |
//! |---|---|---|
//! | `equal` | all images | `s` and `t` give the same label |
//! | `equal_9999` | all images | that, and the confidence of both is at least `0.9999_f32` |
//! | `mean_class_probability` | all images | mean of what `t` gives to `c`, added in f64 in the images' order |
//! | `less_confident` | images with equal labels | the confidence of `t` is below that of `s` |
//! | `fooled` | all images | the label of both is `c` |

use super::classes::{Answer, Classes};
use serde::{Deserialize, Serialize};

/// How images were made. In the order of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Direct,
    Cppn,
    Ascent,
    /// Nobody says.
    Images,
}

impl Method {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Method::Direct => "direct",
            Method::Cppn => "cppn",
            Method::Ascent => "ascent",
            Method::Images => "images",
        }
    }
}

/// What became of a group of images on one network: counts, and the shares that they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    pub images: usize,
    pub equal: usize,
    pub equal_9999: usize,
    pub less_confident: usize,
    pub fooled: usize,
    pub equal_share: f64,
    pub equal_9999_share: f64,
    pub mean_class_probability: f64,
    /// `None` where no label is equal.
    pub less_confident_share: Option<f64>,
    pub fooled_share: f64,
}

/// The same while images are counted.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    images: usize,
    equal: usize,
    equal_9999: usize,
    less_confident: usize,
    fooled: usize,
    class_probability: f64,
}

/// As everywhere: a confidence counts for .9999 if it is at least this f32.
const SURE: f32 = 0.9999;

impl Tally {
    fn add(&mut self, class: usize, own: &Answer, other: &Answer) {
        let equal = own.label == other.label;
        self.images += 1;
        self.equal += usize::from(equal);
        self.equal_9999 += usize::from(equal && own.confidence >= SURE && other.confidence >= SURE);
        self.less_confident += usize::from(equal && other.confidence < own.confidence);
        self.fooled += usize::from(own.label == class && other.label == class);
        self.class_probability += f64::from(other.of_class.unwrap_or(0.0));
    }

    /// Of at least one image.
    fn measures(&self) -> Measures {
        let Tally { images, equal, equal_9999, less_confident, fooled, class_probability } = *self;
        let share = |count: usize, of: usize| count as f64 / of as f64;
        Measures {
            images,
            equal,
            equal_9999,
            less_confident,
            fooled,
            equal_share: share(equal, images),
            equal_9999_share: share(equal_9999, images),
            mean_class_probability: class_probability / images as f64,
            less_confident_share: (equal > 0).then(|| share(less_confident, equal)),
            fooled_share: share(fooled, images),
        }
    }
}

/// The measures of the images made for one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMeasures {
    /// Its number in the first network.
    pub class: usize,
    pub name: String,
    #[serde(flatten)]
    pub measures: Measures,
}

/// Images of one source, shown to one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    pub network: String,
    /// Whether it is the network that the images were made against.
    pub own: bool,
    #[serde(flatten)]
    pub measures: Measures,
    /// Those that there are images of.
    pub classes: Vec<ClassMeasures>,
}

/// The images that were made in one way against one network, of all runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The network that they were made against, and its weights.
    pub source: String,
    pub weights_sha256: String,
    pub method: Method,
    /// Parts of an image that networks judged which see a part.
    pub crops: u32,
    pub runs: usize,
    pub images: usize,
    /// One a network.
    pub cells: Vec<Cell>,
}

/// What a network says of images of which nobody says what they were made against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PicturesCell {
    pub network: String,
    /// Of its confidences, added in f64 in the images' order.
    pub mean_confidence: f64,
    /// Images with a confidence of at least .9999, and their share.
    pub over_9999: usize,
    pub over_9999_share: f64,
    /// How many images have each label, by the classes of the matrix.
    pub labels: Vec<usize>,
}

/// Such images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PicturesRow {
    pub source: String,
    pub images: usize,
    pub cells: Vec<PicturesCell>,
}

/// The measures of each class over all cells of a method whose network is not the source's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByClass {
    pub method: Method,
    pub classes: Vec<ClassMeasures>,
}

/// A class that is compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedClass {
    /// Its number in the first network.
    pub class: usize,
    pub name: String,
}

/// The content of `matrix.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    pub networks: Vec<String>,
    /// Whether classes are those that the networks share by name.
    pub shared_classes: bool,
    pub classes: Vec<ComparedClass>,
    pub rows: Vec<Row>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<PicturesRow>,
    /// Of images shown to another network than theirs.
    pub by_class: Vec<ByClass>,
}

/// Where images come from, as far as rows of the matrix tell it apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// For people; of pictures the path.
    pub source: String,
    pub weights_sha256: String,
    /// The source among the networks, if it is one of them.
    pub network: Option<usize>,
    pub method: Method,
    pub crops: u32,
}

/// An image with all answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The place of its origin, and that of the run, in their lists.
    pub origin: usize,
    pub run: usize,
    /// Which of the run's images it is, for people: its file, or its class.
    pub name: String,
    pub seed: Option<u64>,
    /// The class it was made for, among those compared.
    pub class: Option<usize>,
    /// That of the network it was made against.
    pub own: Option<Answer>,
    /// One a network.
    pub answers: Vec<Answer>,
}

impl Matrix {
    /// Of `images`, whose origins are `origins`, shown to `networks`.
    pub fn of(networks: &[String], classes: &Classes, origins: &[Origin], images: &[Judged]) -> Matrix {
        let n_classes = classes.names.len();
        let mut order: Vec<usize> = (0..origins.len()).collect();
        // Stable: sources that are no networks, and pictures, stay in the order of the call.
        order.sort_by_key(|&origin| {
            let Origin { network, method, crops, .. } = origins[origin];
            (network.unwrap_or(usize::MAX), method, crops)
        });
        let class_measures = |tallies: &[Tally]| -> Vec<ClassMeasures> {
            let there = tallies.iter().enumerate().filter(|(_, tally)| tally.images > 0);
            let measures = |(place, tally): (usize, &Tally)| ClassMeasures {
                class: classes.numbers[place],
                name: classes.names[place].clone(),
                measures: tally.measures(),
            };
            there.map(measures).collect()
        };
        let (mut rows, mut pictures) = (Vec::new(), Vec::new());
        let mut pooled: Vec<(Method, Vec<Tally>)> = Vec::new();
        for origin in order {
            let Origin { source, weights_sha256, network, method, crops } = &origins[origin];
            let images: Vec<&Judged> = images.iter().filter(|image| image.origin == origin).collect();
            if images.is_empty() {
                continue;
            }
            if *method == Method::Images {
                pictures.push(pictures_row(source, networks, n_classes, &images));
                continue;
            }
            let cell = |(place, name): (usize, &String)| {
                let own = *network == Some(place);
                let (mut all, mut each) = (Tally::default(), vec![Tally::default(); n_classes]);
                for image in &images {
                    if let (Some(class), Some(answer)) = (image.class, &image.own) {
                        all.add(class, answer, &image.answers[place]);
                        each[class].add(class, answer, &image.answers[place]);
                        if !own {
                            let known = pooled.iter().position(|(known, _)| known == method);
                            let at = known.unwrap_or_else(|| {
                                pooled.push((*method, vec![Tally::default(); n_classes]));
                                pooled.len() - 1
                            });
                            pooled[at].1[class].add(class, answer, &image.answers[place]);
                        }
                    }
                }
                Cell { network: name.clone(), own, measures: all.measures(), classes: class_measures(&each) }
            };
            let cells = networks.iter().enumerate().map(cell).collect();
            let mut runs: Vec<usize> = images.iter().map(|image| image.run).collect();
            runs.dedup(); // images of a run stand together
            rows.push(Row {
                source: source.clone(),
                weights_sha256: weights_sha256.clone(),
                method: *method,
                crops: *crops,
                runs: runs.len(),
                images: images.len(),
                cells,
            });
        }
        pooled.sort_by_key(|(method, _)| *method);
        let by_class = pooled.iter().map(|(method, each)| ByClass { method: *method, classes: class_measures(each) });
        let compared = classes.numbers.iter().zip(&classes.names);
        Matrix {
            networks: networks.to_vec(),
            shared_classes: classes.are_shared,
            classes: compared.map(|(&class, name)| ComparedClass { class, name: name.clone() }).collect(),
            rows,
            pictures,
            by_class: by_class.collect(),
        }
    }

    /// The text of the file, for people as well as for programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a matrix has a JSON form") + "\n"
    }
}

fn pictures_row(source: &str, networks: &[String], n_classes: usize, images: &[&Judged]) -> PicturesRow {
    let cell = |(place, name): (usize, &String)| {
        let answers = || images.iter().map(|image| &image.answers[place]);
        let over_9999 = answers().filter(|answer| answer.confidence >= SURE).count();
        let mut labels = vec![0; n_classes];
        answers().for_each(|answer| labels[answer.label] += 1);
        let n = images.len() as f64;
        PicturesCell {
            network: name.clone(),
            mean_confidence: answers().map(|answer| f64::from(answer.confidence)).sum::<f64>() / n,
            over_9999,
            over_9999_share: over_9999 as f64 / n,
            labels,
        }
    };
    let cells = networks.iter().enumerate().map(cell).collect();
    PicturesRow { source: source.to_owned(), images: images.len(), cells }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(label: usize, confidence: f32, of_class: f32) -> Answer {
        Answer { label, confidence, of_class: Some(of_class) }
    }

    #[test]
    fn measures_count_what_they_say() {
        let mut tally = Tally::default();
        let sure = 0.9999;
        // Equal and sure on both, the other less so; equal, but not sure; equal, for another class; not equal.
        tally.add(1, &answer(1, 1.0, 1.0), &answer(1, sure, sure));
        tally.add(1, &answer(1, sure, sure), &answer(1, sure.next_down(), 0.5));
        tally.add(1, &answer(2, 0.5, 0.25), &answer(2, 0.75, 0.25));
        tally.add(1, &answer(1, 1.0, 1.0), &answer(0, 1.0, 0.0));
        let measures = tally.measures();
        let Measures { images, equal, equal_9999, less_confident, fooled, .. } = measures;
        assert_eq!([images, equal, equal_9999, less_confident, fooled], [4, 3, 1, 2, 2]);
        assert_eq!(measures.less_confident_share, Some(2.0 / 3.0));
        assert_eq!(measures.mean_class_probability, (f64::from(sure) + 0.75) / 4.0);
        let mut none = Tally::default();
        none.add(1, &answer(1, 1.0, 1.0), &answer(0, 1.0, 0.0));
        assert_eq!(none.measures().less_confident_share, None);
    }
}
