//! CSV files (RFC 4180, with plain line feeds).

/// Lines of fields, the first of which are their names.
pub(super) struct Csv {
    text: String,
    columns: usize,
}

impl Csv {
    /// With the names of columns in `heads`, separated by commas.
    pub fn new(heads: &str) -> Csv {
        Csv { text: format!("{heads}\n"), columns: heads.split(',').count() }
    }

    /// Appends a line.
    ///
    /// # Panics
    /// If it has not as many fields as there are columns.
    pub fn row(&mut self, fields: &[String]) {
        assert_eq!(fields.len(), self.columns, "a field a column");
        let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
        self.text.push_str(&fields.join(","));
        self.text.push('\n');
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// A number that may not be there: an empty field then.
pub(super) fn maybe(value: Option<impl ToString>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}
