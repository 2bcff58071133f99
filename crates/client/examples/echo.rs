//! A wallet that answers: sends back every text that it gets.
//!
//! With a devnet running and a wallet `bob` in the home (`conet devnet up` makes both):
//!
//! ```text
//! cargo run --release -p conet-client --example echo -- ~/.local/share/conet bob
//! conet --wallet alice send bob "anybody there?"
//! ```
//!
//! A third argument sends one text before it listens: `… echo -- HOME bob 0xSomebody`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use client::home::Home;
use client::receive::{Body, Event, ListenOptions};
use client::send::SendOptions;
use client::{Client, ClientOptions};
use ledger::NetworkFile;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: echo HOME WALLET [RECIPIENT]";
    let home = PathBuf::from(arguments.next().ok_or(usage)?);
    let wallet = arguments.next().ok_or(usage)?;

    let network = NetworkFile::load(&Home::open(&home)?.network_path("devnet")?)?;
    let mut options = ClientOptions::new(home, network);
    options.wallet = Some(wallet);
    let client = Client::open(options).await?;
    client.ready(Duration::from_secs(30)).await?;

    // Send: returns when a mailbox has signed that it keeps the message.
    if let Some(recipient) = arguments.next() {
        let to = client.recipient(&recipient)?;
        let sent = client
            .send_text(&to, "hello", SendOptions::default())
            .await?;
        println!("{} is kept by {:?}", sent.id, sent.stored_at);
    }

    // Listen: each message once, in order; asking for the next says that this one was dealt with.
    let mut listener = client.listen(ListenOptions::default()).await?;
    println!("{} listens", client.contact_uri()?);
    while let Some(event) = listener.next().await? {
        match event {
            Event::Message(message) => {
                let Body::Text(text) = &message.body else {
                    continue;
                };
                println!(
                    "{:?} ({}): {text:?}",
                    message.from,
                    message.verified.as_str()
                );
                // Reply: to whom the signature says it came from. An echo of an echo would never end.
                if message.from.wallet.is_some() && !text.starts_with("echo: ") {
                    let answer = format!("echo: {text}");
                    if let Err(error) = client
                        .reply(&message, &answer, SendOptions::default())
                        .await
                    {
                        eprintln!("not answered: {error}");
                    }
                }
            }
            Event::Warning(warning) => eprintln!("{warning:?}"),
            _ => {}
        }
    }
    Ok(())
}
