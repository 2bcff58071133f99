//! A conversation line by line, where there is no terminal: stdin is sent, what comes is printed.

use client::receive::Event;
use tokio::sync::mpsc;

use super::conversation::{Conversation, Line, Mark};
use super::dispatch::{Dispatch, Load};
use super::hearing::{Heard, Hearing};
use crate::commands::listen::describe;
use crate::context::Context;
use crate::failure::{Exit, Outcome};
use crate::moment;
use crate::screen::{one_line, print, print_json};
use crate::stopping;

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
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            news = dispatch.news() => match news {
                Some(news) => {
                    conversation.update(news.ticket, news.id, news.mark);
                    if let Some(trouble) = &news.trouble {
                        eprintln!("{}", one_line(trouble));
                    }
                    if news.mark == Mark::Failed {
                        exit = Exit::Error;
                    }
                }
                None => break,
            },
            line = next_line(&mut input) => match line {
                Some(line) if line.is_empty() => {}
                Some(line) => {
                    if let Some(ticket) = dispatch.send(Load::Text(line.clone())) {
                        conversation.wrote(ticket, &line, moment::now_ms());
                    }
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

async fn next_line(input: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
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
                    eprintln!("{}", line.text);
                    Ok(())
                }
                (_, Some(line)) if line.mark == Mark::Came => print(&text(line)),
                _ => Ok(()),
            }
        }
        Heard::History(history) => {
            for place in conversation.merge(history) {
                if let Some(line) = conversation.lines().get(place)
                    && line.mark == Mark::Came
                {
                    print(&text(line))?;
                }
            }
            Ok(())
        }
    }
}

fn text(line: &Line) -> String {
    format!(
        "{}  {}: {}",
        moment::short(line.time_ms),
        line.who,
        line.text
    )
}

/// The lines of stdin, read by a thread of their own.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (lines, input) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    input
}
