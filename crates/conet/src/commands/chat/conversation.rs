//! What was said in a conversation, and how far each line of it has come.

use client::history::{HistoryEntry, MessageStatus};
use client::home::Recipient;
use client::receive::{Body, Event, Message, Verification};
use packet::MessageId;
use wallet::WalletAddress;

use crate::commands::listen::{notice, sender_of};
use crate::screen::{one_line, safe};

/// Lines that are kept; the oldest go first.
const MAX_LINES: usize = 5_000;

/// How far a line has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// It came from the other end.
    Came,
    /// It is no message.
    Notice,
    /// It waits in the outbox.
    Waiting,
    /// A mailbox keeps it.
    Stored,
    /// The other end has it.
    Delivered,
    /// It was given up.
    Failed,
}

impl Mark {
    /// The mark as it is shown behind a line.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Came | Self::Notice => "",
            Self::Waiting => "…",
            Self::Stored => "✓",
            Self::Delivered => "✓✓",
            Self::Failed => "✗",
        }
    }
}

/// Which line is meant, by whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(pub(super) u64);

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) id: Option<MessageId>,
    ticket: Option<Ticket>,
    pub(super) time_ms: u64,
    pub(super) who: String,
    pub(super) text: String,
    pub(super) mark: Mark,
}

/// A conversation with one wallet.
#[derive(Debug)]
pub(super) struct Conversation {
    with: WalletAddress,
    pub(super) name: String,
    me: String,
    lines: Vec<Line>,
}

impl Conversation {
    pub(super) fn new(with: &Recipient, me: &str, past: Vec<HistoryEntry>) -> Self {
        let name = with.name.clone().unwrap_or_else(|| with.wallet.to_string());
        let mut conversation = Self {
            with: with.wallet,
            name,
            me: me.to_owned(),
            lines: Vec::new(),
        };
        conversation.merge(past);
        conversation
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Takes over what the history says: new lines, and news of old ones. Returns the places of the new ones.
    pub(super) fn merge(&mut self, history: Vec<HistoryEntry>) -> Vec<usize> {
        let mut new = Vec::new();
        for entry in history {
            let mark = mark_of(&entry.status);
            if let Some(line) = self.lines.iter_mut().find(|line| line.id == Some(entry.id)) {
                line.mark = line.mark.max(mark);
                continue;
            }
            let who = if entry.status.is_outgoing() {
                self.me.clone()
            } else {
                self.name.clone()
            };
            let text = said(&entry.body);
            self.push(Line {
                id: Some(entry.id),
                ticket: None,
                time_ms: entry.time_ms,
                who,
                text,
                mark,
            });
            new.push(self.lines.len() - 1);
        }
        new
    }

    /// Takes over something that was heard. Returns the new line, if there is one.
    pub(super) fn hear(&mut self, event: &Event, now_ms: u64) -> Option<&Line> {
        match event {
            Event::Message(message) if self.is_theirs(message) => {
                if self.lines.iter().any(|line| line.id == Some(message.id)) {
                    return None;
                }
                let (who, text) = (self.name.clone(), said(&message.body));
                let id = Some(message.id);
                self.push(Line {
                    id,
                    ticket: None,
                    time_ms: message.time_ms,
                    who,
                    text,
                    mark: Mark::Came,
                });
            }
            Event::Message(message) => {
                let text = format!("{}: {}", sender_of(message), said(&message.body));
                self.note(&text, message.time_ms);
            }
            Event::Receipt { ids, .. } => {
                for line in self
                    .lines
                    .iter_mut()
                    .filter(|line| line.id.is_some_and(|id| ids.contains(&id)))
                {
                    line.mark = Mark::Delivered;
                }
                return None;
            }
            event => self.note(&notice(event)?, now_ms),
        }
        self.lines.last()
    }

    /// A message that the user has just written.
    pub(super) fn wrote(&mut self, ticket: Ticket, text: &str, now_ms: u64) {
        let (who, text) = (self.me.clone(), safe(text));
        self.push(Line {
            id: None,
            ticket: Some(ticket),
            time_ms: now_ms,
            who,
            text,
            mark: Mark::Waiting,
        });
    }

    /// What became of a message that the user has written.
    pub(super) fn update(&mut self, ticket: Ticket, id: Option<MessageId>, mark: Mark) {
        if let Some(line) = self
            .lines
            .iter_mut()
            .find(|line| line.ticket == Some(ticket))
        {
            line.id = line.id.or(id);
            line.mark = line.mark.max(mark);
        }
    }

    /// Something that the user should know.
    pub(super) fn note(&mut self, text: &str, now_ms: u64) {
        let text = one_line(text);
        self.push(Line {
            id: None,
            ticket: None,
            time_ms: now_ms,
            who: "–".to_owned(),
            text,
            mark: Mark::Notice,
        });
    }

    fn push(&mut self, line: Line) {
        if self.lines.len() >= MAX_LINES {
            self.lines.remove(0);
        }
        self.lines.push(line);
    }

    fn is_theirs(&self, message: &Message) -> bool {
        message.verified == Verification::Wallet && message.from.wallet == Some(self.with)
    }
}

fn mark_of(status: &MessageStatus) -> Mark {
    match status {
        MessageStatus::Waiting => Mark::Waiting,
        MessageStatus::Stored(_) => Mark::Stored,
        MessageStatus::Delivered => Mark::Delivered,
        MessageStatus::Failed(_) => Mark::Failed,
        _ => Mark::Came,
    }
}

/// What a message says, fit for a terminal.
fn said(body: &Body) -> String {
    match body {
        Body::Text(text) => safe(text).trim_end().to_owned(),
        Body::File(file) => {
            let place = file
                .path
                .as_ref()
                .map_or_else(|| file.name.clone(), |path| path.display().to_string());
            format!("[file] {} ({} bytes)", one_line(&place), file.size)
        }
        _ => "[something that this version does not know]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> Conversation {
        let with = Recipient::from(WalletAddress::from_bytes([7; 20]));
        Conversation::new(&with, "alice", Vec::new())
    }

    #[test]
    fn mark_goes_forward_only() {
        let mut conversation = conversation();
        conversation.wrote(Ticket(1), "hi", 0);
        let id = MessageId::from_bytes([1; 16]);
        conversation.update(Ticket(1), Some(id), Mark::Waiting);
        conversation.update(Ticket(1), Some(id), Mark::Delivered);
        conversation.update(Ticket(1), Some(id), Mark::Stored);
        assert_eq!(conversation.lines()[0].mark, Mark::Delivered);
    }

    #[test]
    fn written_text_can_not_steer_the_terminal() {
        let mut conversation = conversation();
        conversation.wrote(Ticket(1), "a\u{1b}[31mb", 0);
        assert!(!conversation.lines()[0].text.contains('\u{1b}'));
    }

    #[test]
    fn lines_beyond_the_limit_drop_the_oldest() {
        let mut conversation = conversation();
        for number in 0..MAX_LINES + 3 {
            conversation.note(&number.to_string(), 0);
        }
        assert_eq!(conversation.lines().len(), MAX_LINES);
        assert_eq!(conversation.lines()[0].text, "3");
    }
}
