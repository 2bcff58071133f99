//! The tables of `docs/security.md`.

const PAGE: &str = include_str!("../../../../docs/security.md");

/// A row: who, on which way, and what the other columns say.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) who: String,
    /// `relayed`, `direct`, or empty for both.
    pub(crate) way: String,
    /// `listed`, `unlisted`, or empty for both.
    pub(crate) recipient: String,
    pub(crate) cells: Vec<String>,
}

/// The rows of the table whose first column has this head.
pub(crate) fn table(head: &str) -> Vec<Row> {
    let lines = PAGE.lines().map(|line| line.trim_matches('|'));
    let lines = lines.skip_while(|line| line.split('|').next().unwrap().trim() != head);
    let rows = lines.skip(2).take_while(|line| line.contains('|'));
    let rows: Vec<Row> = rows.map(row).collect();
    assert!(!rows.is_empty(), "the page has no table of {head}");
    rows
}

fn row(line: &str) -> Row {
    let mut cells = line.split('|').map(|cell| cell.trim().to_owned());
    let first = cells.next().unwrap();
    let mut parts = first.split(", ");
    let mut row = Row {
        who: parts.next().unwrap().to_owned(),
        way: String::new(),
        recipient: String::new(),
        cells: cells.collect(),
    };
    for part in parts {
        match part.trim_matches('`') {
            way @ ("relayed" | "direct") => row.way = way.to_owned(),
            "recipient listed" => row.recipient = "listed".to_owned(),
            "recipient unlisted" => row.recipient = "unlisted".to_owned(),
            other => row.who = format!("{}, {other}", row.who),
        }
    }
    row
}

impl Row {
    pub(crate) fn applies_to(&self, way: &str, recipient: &str) -> bool {
        let fits = |said: &str, is: &str| said.is_empty() || said == is;
        fits(&self.way, way) && fits(&self.recipient, recipient)
    }

    /// What a cell says: `None` if nothing.
    pub(crate) fn says(&self, column: usize) -> Option<bool> {
        let cell = self.cells[column].trim_start_matches('*');
        match cell {
            "" => None,
            _ if cell.starts_with("yes") => Some(true),
            _ if cell.starts_with("no") => Some(false),
            _ => panic!("the row of {} says {cell}", self.who),
        }
    }
}

/// A name that no test has any more would say that an attack is covered which is not.
#[test]
fn tests_that_the_page_names_are_there() {
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut sources = String::new();
    let mut folders = vec![std::path::PathBuf::from(crates)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let attempts = table("attempt");
    assert!(attempts.len() >= 12);
    for row in attempts {
        for name in row.cells[1].split(", ") {
            let name = name.trim_matches('`');
            assert!(sources.contains(&format!("fn {name}(")), "no test {name}");
        }
    }
}
