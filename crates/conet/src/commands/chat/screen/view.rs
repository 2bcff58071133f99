//! Draws a conversation.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Block, Paragraph};

use crate::commands::chat::conversation::{Line, Mark};
use crate::commands::chat::entry_line::EntryLine;
use crate::moment;

/// What is drawn.
pub(super) struct View<'a> {
    pub(super) title: &'a str,
    pub(super) lines: &'a [Line],
    pub(super) status: &'a str,
    pub(super) entry: &'a EntryLine,
}

impl View<'_> {
    /// Draws all, that many rows above the newest; returns how many it could be.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, scrolled: usize) -> usize {
        let areas = Layout::vertical([
            Constraint::Min(1),
            Constraint::Length(1),
            Constraint::Length(3),
        ]);
        let [talk, status, entry] = areas.areas(frame.area());
        let scrolled = self.draw_talk(frame, talk, scrolled);
        frame.render_widget(Paragraph::new(self.status).dim(), status);
        self.draw_entry(frame, entry);
        scrolled
    }

    fn draw_talk(&self, frame: &mut Frame<'_>, area: Rect, scrolled: usize) -> usize {
        let block = Block::bordered().title(format!(" {} ", self.title));
        let inside = block.inner(area);
        let (width, height) = (usize::from(inside.width.max(1)), usize::from(inside.height));
        // From the newest backwards, no more than are seen.
        let mut rows: Vec<Row<'_>> = Vec::new();
        for line in self.lines.iter().rev() {
            if rows.len() >= height.saturating_add(scrolled) {
                break;
            }
            rows.extend(rows_of(line, width).into_iter().rev());
        }
        let scrolled = scrolled.min(rows.len().saturating_sub(height));
        let mut seen: Vec<Row<'_>> = rows.into_iter().skip(scrolled).take(height).collect();
        seen.reverse();
        frame.render_widget(Paragraph::new(seen).block(block), area);
        scrolled
    }

    fn draw_entry(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered();
        let inside = block.inner(area);
        let (before, after) = self.entry.parts();
        let cursor = Span::raw(&before).width();
        // The text moves to the left where the cursor would leave the field.
        let hidden = cursor.saturating_sub(usize::from(inside.width.saturating_sub(1)));
        let shift = u16::try_from(hidden).unwrap_or(u16::MAX);
        frame.render_widget(
            Paragraph::new(before + &after)
                .scroll((0, shift))
                .block(block),
            area,
        );
        let column = u16::try_from(cursor - hidden).unwrap_or(0);
        frame.set_cursor_position(Position::new(inside.x.saturating_add(column), inside.y));
    }
}

/// A line of the conversation as rows of at most that width.
fn rows_of(line: &Line, width: usize) -> Vec<Row<'static>> {
    let head = format!("{} {} ", moment::of_day(line.time_ms), line.who);
    let sign = line.mark.sign();
    let style = match line.mark {
        Mark::Came => Style::new().cyan(),
        Mark::Notice => Style::new().dark_gray(),
        Mark::Failed => Style::new().red(),
        _ => Style::new().green(),
    };
    let indent = Span::raw(&head).width().min(width / 3);
    let text_width = width.saturating_sub(indent + 3).max(1);
    let mut rows = Vec::new();
    for (number, text) in wrapped(&line.text, text_width).into_iter().enumerate() {
        let head = if number == 0 {
            Span::styled(fitted(&head, indent), style)
        } else {
            Span::raw(" ".repeat(indent))
        };
        rows.push(Row::from(vec![head, Span::raw(text)]));
    }
    if let Some(last) = rows.last_mut()
        && !sign.is_empty()
    {
        last.push_span(Span::styled(format!(" {sign}"), style));
    }
    rows
}

/// The beginning of a text that has exactly that width, with spaces if need be.
fn fitted(text: &str, width: usize) -> String {
    let mut fitted = String::new();
    let mut left = width;
    for c in text.chars() {
        let wide = Span::raw(c.to_string()).width();
        if wide > left {
            break;
        }
        fitted.push(c);
        left -= wide;
    }
    fitted.push_str(&" ".repeat(left));
    fitted
}

/// A text in rows of at most that width, broken at spaces where there are some.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let mut row = String::new();
        let mut row_width = 0;
        for word in line.split_inclusive(char::is_whitespace) {
            let word = word.replace('\t', " ");
            let word_width = Span::raw(word.trim_end()).width();
            if row_width > 0 && row_width + word_width > width {
                rows.push(std::mem::take(&mut row));
                row_width = 0;
            }
            for c in word.chars() {
                let wide = Span::raw(c.to_string()).width();
                if row_width + wide > width && !c.is_whitespace() {
                    rows.push(std::mem::take(&mut row));
                    row_width = 0;
                }
                row.push(c);
                row_width += wide;
            }
        }
        rows.push(row);
    }
    if rows.is_empty() {
        rows.push(String::new());
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_wraps_at_spaces_and_long_words_anywhere() {
        assert_eq!(wrapped("one two three", 8), ["one two ", "three"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("a\n\nb", 5), ["a", "", "b"]);
        assert_eq!(wrapped("", 5), [""]);
        assert_eq!(wrapped("漢字漢字", 4), ["漢字", "漢字"]);
    }
}
