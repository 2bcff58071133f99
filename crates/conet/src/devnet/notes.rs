//! The notes service of a devnet: a server without login at `notes.conet`, to try a browser with.
//!
//! It is what anybody could publish: the example of `examples/notes` on a port of this machine, served by a wallet of its
//! own, whose home is in the devnet's folder.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ledger::NetworkFile;
use notes::Notes;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::demo_wallets::find_or_make;
use super::members::Members;
use super::plan::DevnetFolder;
use crate::cli::Global;
use crate::commands::{name, serve};
use crate::context::Context;
use crate::failure::{Context as _, Outcome};

/// How it is called.
pub(super) const HOST: &str = "notes.conet";
/// Its name on the ledger, its wallet and its folder.
const NAME: &str = "notes";

/// The service's wallet and folder.
#[derive(Debug, Clone)]
pub(super) struct NotesService {
    context: Context,
    database: PathBuf,
}

impl NotesService {
    /// Finds or makes its wallet.
    pub(super) fn new(folder: &DevnetFolder, network: &NetworkFile) -> Outcome<Self> {
        let path = folder.notes_path();
        let context = Context::new(Global {
            home: Some(path.clone()),
            network: network.name.clone(),
            wallet: Some(NAME.to_owned()),
            password_file: None,
            json: false,
            verbose: 0,
            quiet: true,
        })?;
        find_or_make(&context.home()?, NAME, &mut Vec::new())?;
        let file = context.network_path_of(&network.name);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).context(parent.display())?;
        }
        network.save(&file)?;
        let database = path.join("notes.db");
        Ok(Self { context, database })
    }

    /// Starts it: its name is registered while nodes are started, and it is published when they are up. What is returned
    /// tells when callers can reach it.
    pub(super) fn start(
        self,
        services: &mut Members,
        nodes_are_up: oneshot::Receiver<()>,
    ) -> oneshot::Receiver<()> {
        let (tell_online, online) = oneshot::channel();
        services.start_task(HOST, |stop| async move {
            let name = name::read(NAME)?;
            let ready = async {
                name::obtain_unless_ours(&self.context, &name).await?;
                // Nobody tells it if the devnet does not come up; then it is stopped.
                if nodes_are_up.await.is_err() {
                    std::future::pending::<()>().await;
                }
                Outcome::Ok(())
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                ready = ready => ready?,
            }
            self.run(stop.clone(), tell_online).await
        });
        online
    }

    /// Serves until `stop`; says when callers can reach it.
    async fn run(self, stop: CancellationToken, online: oneshot::Sender<()>) -> Outcome<()> {
        let database = self.database.clone();
        let opening = tokio::task::spawn_blocking(move || Notes::open(&database));
        let notes = opening.await?.context(self.database.display())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let until = stop.clone().cancelled_owned();
        let serving = async { Outcome::Ok(notes::serve(listener, notes, until).await?) };
        let publishing = serve::publish(&self.context, &url, NAME, stop, online);
        // A server that nobody can reach is none: the failure of one ends both.
        tokio::try_join!(serving, publishing).map(drop)
    }
}
