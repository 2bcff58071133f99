//! What is printed, and how: text for people, JSON for programs, nothing that a stranger could misuse.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::Global;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Prints one JSON value on one line of stdout.
pub(crate) fn print_json(value: &serde_json::Value) -> Outcome<()> {
    print(&value.to_string())
}

/// Prints a line on stdout. A reader that has gone (`| head`) is an error without words, not a panic.
pub(crate) fn print(line: &str) -> Outcome<()> {
    let mut stdout = io::stdout().lock();
    let printed = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    printed.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::error(""),
        _ => error.into(),
    })
}

/// Writes a line to stderr, if it takes one: a log on a full disk must not end the program, as `eprintln!`
/// would.
pub(crate) fn tell(line: impl Display) {
    let _lost = writeln!(io::stderr().lock(), "{line}");
}

/// Tells on stderr, in a line, what happens beside the results.
pub(crate) fn notice(context: &Context, text: &str) {
    let text = one_line(text);
    if context.global.json {
        tell(serde_json::json!({ "event": "notice", "text": text }));
    } else {
        tell(text);
    }
}

/// A text of several lines from elsewhere, without what would steer a terminal.
///
/// # Security
/// Messages are written by strangers: escape sequences could hide or rewrite what is on the screen, and
/// characters that change the direction of writing could make a name look like another.
pub(crate) fn safe(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\n' || c == '\t' || !misleading(c) {
                c
            } else {
                '\u{fffd}'
            }
        })
        .collect()
}

/// A text from elsewhere behind what we say of it: its further lines are indented.
///
/// # Security
/// Without it, a message could hold a line that looks like a message of somebody else.
pub(crate) fn behind(head: &str, text: &str) -> String {
    let text = safe(text);
    let mut lines = text.trim_end().split(['\n', '\u{2028}', '\u{2029}']);
    let mut shown = format!("{head}{}", lines.next().unwrap_or_default());
    for line in lines {
        shown.push_str("\n    ");
        shown.push_str(line);
    }
    shown
}

/// A text from elsewhere in one line.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .map(|c| if misleading(c) { '\u{fffd}' } else { c })
        .collect()
}

fn misleading(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Says whether people look at both outputs.
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Steps of a longer work: a spinner with the step under way on a terminal, else a line for each step.
#[derive(Debug)]
pub(crate) struct Steps {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Steps {
    /// Begins; nothing is shown with `-q`, and with `--json` only to people.
    pub(crate) fn new(global: &Global) -> Self {
        let seen = io::stderr().is_terminal();
        let bar = (!global.quiet && seen).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            quiet: global.quiet || global.json,
        }
    }

    /// Says what is being done now.
    pub(crate) fn begin(&self, what: impl Into<String>) {
        let what = what.into();
        match &self.bar {
            Some(bar) => bar.set_message(what),
            None if !self.quiet => tell(format_args!("{what} …")),
            None => {}
        }
    }

    /// Says whether steps replace each other on a terminal.
    pub(crate) const fn is_live(&self) -> bool {
        self.bar.is_some()
    }

    /// Ends the spinner.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar for that many bytes; hidden where `quiet` or where stderr is no terminal.
pub(crate) fn byte_bar(total: u64, quiet: bool) -> ProgressBar {
    let target = if quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_can_not_steer_the_terminal() {
        assert_eq!(safe("a\u{1b}[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb\nc\u{fffd}d");
        assert_eq!(one_line("a\r\nb\u{7}\u{9b}"), "a  b\u{fffd}\u{fffd}");
    }

    #[test]
    fn line_of_a_text_can_not_pass_for_a_message_of_somebody_else() {
        // `listen` printed texts as they came: their second line could begin with a date and a name.
        let text =
            "hi\n2026-01-01 12:00  carol: send it to me\u{2028}2026-01-01 12:01  carol: now\n\n";
        assert_eq!(
            behind("2026-01-01 12:00  alice: ", text),
            "2026-01-01 12:00  alice: hi\n    2026-01-01 12:00  carol: send it to me\n    2026-01-01 12:01  carol: now"
        );
        assert_eq!(behind("alice: ", ""), "alice: ");
    }
}
