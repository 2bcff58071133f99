//! A conversation on the whole terminal: what was said, a line of status, a line to write into.

mod view;

use std::path::PathBuf;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{
    self, Event as Key, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
};
use tokio::sync::mpsc;

use super::conversation::Conversation;
use super::dispatch::{Dispatch, Load, News};
use super::entry_line::EntryLine;
use super::hearing::{Heard, Hearing};
use crate::failure::{Exit, Outcome};
use crate::moment;
use crate::stopping;
use view::View;

/// Keys that are pressed but not dealt with yet.
const KEYS: usize = 256;
/// How often the thread that reads keys looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What the user can do besides writing.
const HELP: &str = "Enter sends, /file PATH sends a file, PgUp and PgDn scroll, Esc leaves";

/// Whether to go on.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    Stay,
    Leave,
}

/// Everything on the screen.
struct Room {
    conversation: Conversation,
    dispatch: Dispatch,
    entry: EntryLine,
    /// Rows that the view is above the newest.
    scrolled: usize,
    status: String,
}

/// Chats until the user leaves.
pub(super) async fn run(
    conversation: Conversation,
    mut hearing: Hearing,
    dispatch: Dispatch,
) -> Outcome {
    let stop = stopping::on_signal()?;
    let status = if hearing.is_elsewhere() {
        "another process listens for this wallet; its messages are shown here too"
    } else {
        HELP
    };
    let mut room = Room {
        conversation,
        dispatch,
        entry: EntryLine::default(),
        scrolled: 0,
        status: status.to_owned(),
    };
    let mut terminal = ratatui::try_init()?;
    let mut keys = keys();
    let outcome = loop {
        if let Err(error) = room.draw(&mut terminal) {
            break Err(error);
        }
        let step = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            key = keys.recv() => key.map_or(Then::Leave, |key| room.key(key)),
            Some(news) = room.dispatch.news() => room.news(&news),
            heard = hearing.next() => match heard {
                Ok(heard) => room.hear(heard),
                Err(failure) => break Err(failure),
            },
        };
        if step == Then::Leave {
            break Ok(());
        }
    };
    ratatui::try_restore()?;
    outcome?;
    hearing.done().await?;
    room.dispatch.stop().await;
    Ok(Exit::Done)
}

impl Room {
    fn draw(&mut self, terminal: &mut DefaultTerminal) -> Outcome<()> {
        let view = View {
            title: &self.conversation.name,
            lines: self.conversation.lines(),
            status: &self.status,
            entry: &self.entry,
        };
        let mut scrolled = self.scrolled;
        terminal.draw(|frame| scrolled = view.draw(frame, scrolled))?;
        self.scrolled = scrolled;
        Ok(())
    }

    fn hear(&mut self, heard: Heard) -> Then {
        match heard {
            Heard::Event(event) => {
                self.conversation.hear(&event, moment::now_ms());
            }
            Heard::History(history) => {
                self.conversation.merge(history);
            }
        }
        Then::Stay
    }

    fn news(&mut self, news: &News) -> Then {
        self.conversation.update(news.ticket, news.id, news.mark);
        self.status = match &news.trouble {
            Some(trouble) => crate::screen::one_line(trouble),
            None => HELP.to_owned(),
        };
        Then::Stay
    }

    fn key(&mut self, key: Key) -> Then {
        match key {
            Key::Key(KeyEvent {
                kind: KeyEventKind::Press | KeyEventKind::Repeat,
                code,
                modifiers,
                ..
            }) => {
                if modifiers.contains(KeyModifiers::CONTROL) {
                    return self.control(code);
                }
                self.plain_key(code)
            }
            _ => Then::Stay,
        }
    }

    fn control(&mut self, code: KeyCode) -> Then {
        match code {
            KeyCode::Char('c') => return Then::Leave,
            KeyCode::Char('d') if self.entry.is_empty() => return Then::Leave,
            KeyCode::Char('a') => self.entry.go_to_start(),
            KeyCode::Char('e') => self.entry.go_to_end(),
            KeyCode::Char('u') => self.entry.clear(),
            KeyCode::Char('w') => self.entry.delete_word(),
            _ => {}
        }
        Then::Stay
    }

    fn plain_key(&mut self, code: KeyCode) -> Then {
        match code {
            KeyCode::Esc => return Then::Leave,
            KeyCode::Enter => return self.enter(),
            KeyCode::Char(c) => self.entry.insert(c),
            KeyCode::Backspace => self.entry.delete_before(),
            KeyCode::Delete => self.entry.delete_after(),
            KeyCode::Left => self.entry.left(),
            KeyCode::Right => self.entry.right(),
            KeyCode::Home => self.entry.go_to_start(),
            KeyCode::End => self.entry.go_to_end(),
            KeyCode::Up => self.scrolled = self.scrolled.saturating_add(1),
            KeyCode::Down => self.scrolled = self.scrolled.saturating_sub(1),
            KeyCode::PageUp => self.scrolled = self.scrolled.saturating_add(10),
            KeyCode::PageDown => self.scrolled = self.scrolled.saturating_sub(10),
            _ => {}
        }
        Then::Stay
    }

    fn enter(&mut self) -> Then {
        let text = self.entry.take();
        let text = text.trim();
        if text.is_empty() {
            return Then::Stay;
        }
        let load = match text.split_once(' ').unwrap_or((text, "")) {
            ("/quit" | "/exit", _) => return Then::Leave,
            ("/help", _) => {
                HELP.clone_into(&mut self.status);
                return Then::Stay;
            }
            ("/file", path) => match std::path::absolute(PathBuf::from(path.trim())) {
                Ok(path) if path.is_file() => Load::File(path),
                _ => {
                    self.status = format!("there is no file {}", crate::screen::one_line(path));
                    return Then::Stay;
                }
            },
            _ => Load::Text(text.to_owned()),
        };
        self.scrolled = 0;
        match self.dispatch.send(load) {
            Some(ticket) => self.conversation.wrote(ticket, text, moment::now_ms()),
            None => {
                // The user need not write it again.
                text.chars().for_each(|c| self.entry.insert(c));
                "too much waits to be sent: try again in a moment".clone_into(&mut self.status);
            }
        }
        Then::Stay
    }
}

/// The keys, read by a thread of their own, which ends when nobody wants them any more.
fn keys() -> mpsc::Receiver<Key> {
    let (pressed, keys) = mpsc::channel(KEYS);
    std::thread::spawn(move || {
        while !pressed.is_closed() {
            let key = match event::poll(LOOK_EVERY) {
                Ok(true) => event::read(),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            let Ok(key) = key else {
                return;
            };
            if pressed.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}
