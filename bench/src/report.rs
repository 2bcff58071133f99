//! Figures, and how they are printed.

use serde::Serialize;

/// Rounds of each side at least, of which the median counts.
pub(crate) const LEAST_ROUNDS: usize = 5;

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: String,
    /// The median.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// The peer beside which it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<Peer>,
    /// All rounds.
    pub(crate) rounds: Vec<f64>,
    /// What else belongs to it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) note: String,
}

/// A peer and what it did.
#[derive(Debug, Serialize)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    /// How many times the peer's value ours is.
    pub(crate) ratio: f64,
}

/// What a run found.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    figures: Vec<Figure>,
}

impl Figure {
    /// The median of rounds, alone.
    pub(crate) fn alone(name: impl Into<String>, unit: &'static str, rounds: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            value: median(&rounds),
            unit,
            peer: None,
            rounds,
            note: String::new(),
        }
    }

    /// The median of rounds, beside the median of a peer's.
    pub(crate) fn beside(
        name: impl Into<String>,
        unit: &'static str,
        rounds: Vec<f64>,
        peer: &'static str,
        peers: &[f64],
    ) -> Self {
        let mut figure = Self::alone(name, unit, rounds);
        let value = median(peers);
        figure.peer = Some(Peer {
            name: peer,
            value,
            ratio: figure.value / value,
        });
        figure
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            figures: Vec::new(),
        }
    }

    /// Takes a figure, and prints it at once unless all are to come as JSON.
    pub(crate) fn add(&mut self, figure: Figure) {
        if !self.json {
            let ratio = figure.peer.as_ref().map_or_else(String::new, |peer| {
                format!("{:.2}× {}", peer.ratio, peer.name)
            });
            let beside = figure.peer.as_ref().map_or_else(String::new, |peer| {
                format!(" beside {}", amount(peer.value))
            });
            let note = if figure.note.is_empty() {
                String::new()
            } else {
                format!("; {}", figure.note)
            };
            println!(
                "{:<44} {ratio:<18} {} {}{beside}{note}",
                figure.name,
                amount(figure.value),
                figure.unit
            );
        }
        self.figures.push(figure);
    }

    /// Says what is no figure; not among JSON.
    pub(crate) fn say(&self, text: &str) {
        if self.json {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }

    pub(crate) fn finish(self) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(&self.figures)?);
        }
        Ok(())
    }
}

/// The median of at least one value; not a number for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which that part of all values lies.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * part).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Four digits are as many as a figure of this kind has.
fn amount(value: f64) -> String {
    if value.abs() >= 1_000.0 {
        let digits = format!("{value:.0}");
        let mut out = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at) % 3 == 0 {
                out.push(',');
            }
            out.push(digit);
        }
        out
    } else if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}
