//! A conversation line by line, where there is no terminal: stdin is sent, what comes is printed.

use std::io::{BufRead, Read as _};

use client::receive::Event;
use client::send::MAX_TEXT_BYTES;
use tokio::sync::mpsc;

use super::conversation::{Conversation, Line, Mark};
use super::dispatch::{Dispatch, Load};
use super::hearing::{Heard, Hearing};
use crate::commands::listen::{describe, describe_past};
use crate::context::Context;
use crate::failure::{Exit, Outcome};
use crate::moment;
use crate::screen::{behind, notice, print, print_json};
use crate::stopping;

/// A line of stdin, or why nothing more of it is sent.
type Input = Result<String, String>;

/// Lines of stdin that wait to be sent.
const LINES: usize = 16;

/// Chats until stdin ends and all of it is sent, or until a signal.
pub(super) async fn run(
    context: &Context,
    mut conversation: Conversation,
    mut hearing: Hearing,
    mut dispatch: Dispatch,
) -> Outcome {
    let stop = stopping::on_signal()?;
    let mut input = Some(lines_of_stdin());
    let mut exit = Exit::Done;
    // What was read while too much waits already; nothing more is read until there is room for it.
    let mut held: Option<String> = None;
    loop {
        let room = dispatch.has_room();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            news = dispatch.news() => match news {
                Some(news) => {
                    conversation.update(news.ticket, news.id, news.mark);
                    if let Some(trouble) = &news.trouble {
                        notice(context, trouble);
                    }
                    if news.mark == Mark::Failed {
                        exit = Exit::Error;
                    }
                }
                None => break,
            },
            () = room, if held.is_some() => {
                if let Some(line) = held.take() {
                    held = write(&mut conversation, &mut dispatch, line);
                }
            }
            line = next_line(&mut input), if held.is_none() => match line {
                Some(Ok(line)) if line.is_empty() => {}
                Some(Ok(line)) => held = write(&mut conversation, &mut dispatch, line),
                Some(Err(trouble)) => {
                    notice(context, &trouble);
                    exit = Exit::Error;
                    input = None;
                    dispatch.close();
                }
                None => {
                    input = None;
                    dispatch.close();
                }
            },
            heard = hearing.next() => show(context, &mut conversation, heard?)?,
        }
    }
    hearing.done().await?;
    dispatch.stop().await;
    let waits = conversation
        .lines()
        .iter()
        .any(|line| line.mark == Mark::Waiting);
    Ok(if exit == Exit::Done && waits {
        Exit::Kept
    } else {
        exit
    })
}

/// Sends a line; gives it back if too much waits already.
fn write(conversation: &mut Conversation, dispatch: &mut Dispatch, line: String) -> Option<String> {
    let Some(ticket) = dispatch.send(Load::Text(line.clone())) else {
        return Some(line);
    };
    conversation.wrote(ticket, &line, moment::now_ms());
    None
}

async fn next_line(input: &mut Option<mpsc::Receiver<Input>>) -> Option<Input> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

fn show(context: &Context, conversation: &mut Conversation, heard: Heard) -> Outcome<()> {
    match heard {
        Heard::Event(event) => {
            let line = conversation.hear(&event, moment::now_ms());
            match (&*event, line) {
                (Event::Message(message), _) if context.global.json => {
                    print_json(&describe(message))
                }
                (_, Some(line)) if line.mark == Mark::Notice && !context.global.quiet => {
                    notice(context, &line.text);
                    Ok(())
                }
                (_, Some(line)) if line.mark == Mark::Came => print(&text(line)),
                _ => Ok(()),
            }
        }
        Heard::History(history) => {
            for place in conversation.merge(history.clone()) {
                let Some(line) = conversation.lines().get(place) else {
                    continue;
                };
                if line.mark != Mark::Came {
                    continue;
                }
                let entry = history.iter().find(|entry| Some(entry.id) == line.id);
                match entry {
                    Some(entry) if context.global.json => print_json(&describe_past(entry))?,
                    _ => print(&text(line))?,
                }
            }
            Ok(())
        }
    }
}

fn text(line: &Line) -> String {
    let head = format!("{}  {}: ", moment::short(line.time_ms), line.who);
    behind(&head, &line.text)
}

/// The lines of stdin, read by a thread of their own.
fn lines_of_stdin() -> mpsc::Receiver<Input> {
    let (lines, input) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        while let Some(line) = read_line(&mut stdin) {
            let last = line.is_err();
            if lines.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    input
}

/// The next line, without its end; nothing after one that can't be sent as text is read.
fn read_line(from: &mut impl BufRead) -> Option<Input> {
    let mut line = Vec::new();
    let longest = MAX_TEXT_BYTES as u64 + 2;
    match from.take(longest).read_until(b'\n', &mut line) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) => return Some(Err(format!("stdin can't be read: {error}"))),
    }
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    }
    if line.len() > MAX_TEXT_BYTES {
        return Some(Err(format!(
            "a line has more than {MAX_TEXT_BYTES} bytes, it and what follows are not sent: use `conet send --file`"
        )));
    }
    Some(String::from_utf8(line).map_err(|_| {
        "a line is no UTF-8 text, it and what follows are not sent: use `conet send --file`"
            .to_owned()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_as_they_are_until_one_is_no_text() {
        let mut from = &b"one\r\n\ntwo \n\xff\nthree"[..];
        for line in ["one", "", "two "] {
            assert_eq!(read_line(&mut from), Some(Ok(line.to_owned())));
        }
        assert!(read_line(&mut from).unwrap().unwrap_err().contains("UTF-8"));
        let mut from = &b"last"[..];
        assert_eq!(read_line(&mut from), Some(Ok("last".to_owned())));
        assert_eq!(read_line(&mut from), None);
    }

    #[test]
    fn endless_line_ends_at_the_longest_text() {
        let mut from = std::io::BufReader::new(std::io::repeat(b'a'));
        let refused = read_line(&mut from).unwrap().unwrap_err();
        assert!(refused.contains("1000000 bytes"), "{refused}");
    }
}
