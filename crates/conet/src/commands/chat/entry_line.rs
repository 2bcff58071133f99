//! The line that the user writes into.

/// The longest text that is written here, in characters: what is longer is better sent as a file.
const MAX_CHARS: usize = 16_000;

/// A line of text with a cursor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EntryLine {
    before: Vec<char>,
    /// What is behind the cursor, last character first.
    after: Vec<char>,
}

impl EntryLine {
    pub(super) fn insert(&mut self, c: char) {
        if self.before.len() + self.after.len() < MAX_CHARS {
            self.before.push(c);
        }
    }

    pub(super) fn delete_before(&mut self) {
        self.before.pop();
    }

    pub(super) fn delete_after(&mut self) {
        self.after.pop();
    }

    pub(super) fn delete_word(&mut self) {
        while self.before.pop_if(|c| c.is_whitespace()).is_some() {}
        while self.before.pop_if(|c| !c.is_whitespace()).is_some() {}
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn left(&mut self) {
        self.after.extend(self.before.pop());
    }

    pub(super) fn right(&mut self) {
        self.before.extend(self.after.pop());
    }

    pub(super) fn go_to_start(&mut self) {
        self.after.extend(self.before.drain(..).rev());
    }

    pub(super) fn go_to_end(&mut self) {
        self.before.extend(self.after.drain(..).rev());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// The text before the cursor and that behind it.
    pub(super) fn parts(&self) -> (String, String) {
        (
            self.before.iter().collect(),
            self.after.iter().rev().collect(),
        )
    }

    /// The whole text; the line is empty then.
    pub(super) fn take(&mut self) -> String {
        let (before, after) = self.parts();
        self.clear();
        before + &after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_line_is_edited_at_its_cursor() {
        let mut line = EntryLine::default();
        "bc d".chars().for_each(|c| line.insert(c));
        line.go_to_start();
        line.insert('a');
        line.right();
        line.delete_after();
        assert_eq!(line.parts(), ("ab".to_owned(), " d".to_owned()));
        line.go_to_end();
        line.delete_word();
        line.left();
        line.delete_before();
        assert_eq!(line.take(), "a ");
        assert!(line.is_empty());
    }
}
