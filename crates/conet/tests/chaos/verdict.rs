//! Whether everything that was acknowledged came, once and in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use client::receive::Body;
use client::{Client, ClientOptions, MAX_HISTORY_READ};
use ledger::NetworkFile;
use tokio::time::Instant;

use crate::people::Person;
use crate::person::lines;

/// How long after the last repair everything has to be there: retries wait up to some minutes.
const PATIENCE: Duration = Duration::from_secs(400);
/// Journals of failures that are shown.
const SHOWN: usize = 10;

/// A message: who wrote it, in which run of theirs, its number, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Letter {
    to: String,
    from: String,
    run: u32,
    number: u32,
}

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    acknowledged: usize,
    received: usize,
    repeated_lines: usize,
    gaps: usize,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acknowledged,
            received,
            repeated_lines,
            gaps,
        } = self;
        write!(
            f,
            "{acknowledged} messages acknowledged, {received} received ({repeated_lines} lines repeated, {gaps} gaps shown)"
        )
    }
}

/// Waits until each acknowledged message was heard.
pub(crate) async fn all_arrives(people: &[Person]) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let heard: BTreeSet<Letter> = people.iter().flat_map(heard).collect();
        let missing: Vec<Letter> = people
            .iter()
            .flat_map(acknowledged)
            .filter(|letter| !heard.contains(letter))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            let first = &missing[..missing.len().min(SHOWN)];
            bail!(
                "{} acknowledged messages did not come, among them {first:#?}",
                missing.len()
            );
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Reads the journals and the durable inboxes of people who are gone.
pub(crate) async fn judge(people: &[Person], network: &NetworkFile) -> Result<Counted> {
    let mut counted = Counted::default();
    for person in people {
        let kept = inbox(person, network).await?;
        counted.received += kept.values().sum::<usize>();
        if let Some((letter, times)) = kept.iter().find(|(_, times)| **times != 1) {
            bail!("{letter:?} stands {times} times in the inbox");
        }
        check_lines(person, &mut counted)?;
        let me = person.address.to_string();
        for letter in people
            .iter()
            .flat_map(acknowledged)
            .filter(|it| it.to == me)
        {
            counted.acknowledged += 1;
            ensure!(kept.contains_key(&letter), "{letter:?} is not in the inbox");
        }
    }
    ensure!(
        counted.acknowledged > people.len(),
        "hardly anything was sent: {counted}"
    );
    Ok(counted)
}

/// What stands in a person's inbox, and how often.
async fn inbox(person: &Person, network: &NetworkFile) -> Result<BTreeMap<Letter, usize>> {
    let options = ClientOptions::new(person.folder.join("home"), network.clone());
    let history = Client::open(options)
        .await?
        .history(None, MAX_HISTORY_READ)
        .await?;
    ensure!(
        history.len() < MAX_HISTORY_READ as usize,
        "more messages than can be read: fewer kills"
    );
    let mut kept = BTreeMap::new();
    for entry in history.iter().filter(|entry| !entry.status.is_outgoing()) {
        if let (Body::Text(text), Some(from)) = (&entry.body, entry.peer.wallet)
            && let Some(letter) = letter(&person.address.to_string(), &format!("{from} {text}"))
        {
            *kept.entry(letter).or_default() += 1;
        }
    }
    Ok(kept)
}

/// Looks at what a person's listeners said: in order, nothing twice but a last line after a kill.
fn check_lines(person: &Person, counted: &mut Counted) -> Result<()> {
    let me = person.address.to_string();
    let mut heard = BTreeSet::new();
    let mut latest: BTreeMap<(String, u32), u32> = BTreeMap::new();
    let mut with_gap = BTreeSet::new();
    let mut last: Option<Letter> = None;
    let mut just_started = false;
    for line in lines(&person.folder.join("heard")) {
        if line.starts_with("run ") {
            just_started = true;
        } else if let Some(gap) = line.strip_prefix("gap ") {
            counted.gaps += 1;
            with_gap.extend(gap.split_whitespace().next().map(str::to_owned));
        } else if let Some(rest) = line.strip_prefix("heard ") {
            let Some(letter) = letter(&me, rest) else {
                bail!("not a message of ours: {line}");
            };
            if !heard.insert(letter.clone()) {
                let is_repeated = just_started && last.as_ref() == Some(&letter);
                ensure!(is_repeated, "{letter:?} was shown twice");
                counted.repeated_lines += 1;
            } else {
                let before = latest.insert((letter.from.clone(), letter.run), letter.number);
                let in_order = before.is_none_or(|before| before < letter.number);
                // What comes after its gap was shown is late, not lost.
                ensure!(
                    in_order || with_gap.contains(&letter.from),
                    "{letter:?} came after number {before:?}"
                );
            }
            last = Some(letter);
            just_started = false;
        }
    }
    Ok(())
}

fn heard(person: &Person) -> Vec<Letter> {
    let me = person.address.to_string();
    lines(&person.folder.join("heard"))
        .iter()
        .filter_map(|line| letter(&me, line.strip_prefix("heard ")?))
        .collect()
}

fn acknowledged(person: &Person) -> Vec<Letter> {
    let from = person.address.to_string();
    lines(&person.folder.join("sent"))
        .iter()
        .filter_map(|line| {
            let mut words = line.strip_prefix("acknowledged ")?.split_whitespace();
            let (run, to, number) = (words.next()?, words.next()?, words.next()?);
            letter(to, &format!("{from} {run} {number}"))
        })
        .collect()
}

/// Reads "FROM RUN NUMBER …".
fn letter(to: &str, text: &str) -> Option<Letter> {
    let mut words = text.split_whitespace();
    Some(Letter {
        to: to.to_owned(),
        from: words.next()?.to_owned(),
        run: words.next()?.parse().ok()?,
        number: words.next()?.parse().ok()?,
    })
}
