//! What a devnet puts into the home that it was started with, and takes out again.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::home::WalletHead;
use ledger::NetworkFile;

use super::NETWORK_NAME;
use super::plan::DevnetFolder;
use crate::context::Context;
use crate::failure::{Context as _, Failure, Outcome};
use crate::process_lock::ProcessLock;
use crate::sealed_file::write_private;

/// How long the chain of a devnet that may run may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// The file that says where the devnet that runs in a home is, if it is not where they usually are.
const RUNNING: &str = "devnet-running";

/// The network file in the home, with what was there before.
#[derive(Debug)]
pub(super) struct HomeEntry {
    home: PathBuf,
    /// Whether there was no home before.
    home_is_new: bool,
    path: PathBuf,
    before: Option<NetworkFile>,
    /// Wallets that were made for it.
    pub(super) wallets: Vec<WalletHead>,
}

impl HomeEntry {
    /// Looks at what is there.
    ///
    /// # Errors
    /// Where another devnet runs under that name in this home.
    pub(super) fn look(context: &Context, rpc_url: &str) -> Outcome<Self> {
        let home = context.home_path().to_owned();
        let path = context.network_path_of(NETWORK_NAME);
        let before = path
            .exists()
            .then(|| NetworkFile::load(&path))
            .transpose()
            .unwrap_or_default();
        let other = before
            .as_ref()
            .and_then(|file| file.rpc_urls.first())
            .filter(|url| *url != rpc_url);
        if let Some(url) = other
            && answers(url)
        {
            let advice = "stop it first, or use another --home";
            return Err(Failure::error(format!(
                "another devnet runs in this home, its chain is {url}: {advice}"
            )));
        }
        Ok(Self {
            home_is_new: !home.exists(),
            home,
            path,
            before,
            wallets: Vec::new(),
        })
    }

    /// Writes the network file; what the home knew of an earlier network of that name goes.
    pub(super) fn put(
        &self,
        network: &NetworkFile,
        folder: &DevnetFolder,
        is_new: bool,
    ) -> Outcome<()> {
        if is_new {
            self.forget_index()?;
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).context(folder.display())?;
        }
        if folder.path != usual_folder(&self.home) {
            use std::os::unix::ffi::OsStrExt as _;
            write_private(&self.home.join(RUNNING), folder.path.as_os_str().as_bytes())?;
        }
        network
            .save(&self.path)
            .context("writing the network into the home")
    }

    /// Takes back what says that the devnet runs.
    pub(super) fn end(&self) {
        let _ = fs::remove_file(self.home.join(RUNNING));
    }

    /// Takes everything out again, and puts back what was there.
    pub(super) fn take_out(&self, context: &Context) -> Outcome<()> {
        self.forget_index()?;
        for wallet in &self.wallets {
            context.home()?.discard(wallet)?;
        }
        match &self.before {
            Some(before) => before.save(&self.path)?,
            None if self.path.exists() => {
                fs::remove_file(&self.path).context(self.path.display())?
            }
            None => {}
        }
        if self.home_is_new {
            for folder in ["wallets", "accounts", "networks", ""] {
                // One that is not empty is somebody's, and stays.
                let _ = fs::remove_dir(self.home.join(folder));
            }
        }
        Ok(())
    }

    /// Removes the index and notes of the network, which are of another chain with the same ID.
    fn forget_index(&self) -> Outcome<()> {
        let folder = self.path.with_extension("");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context(folder.display())
            }
            _ => Ok(()),
        }
    }
}

/// Where the devnet of a home is: the one that runs, else where they usually are.
pub(super) fn folder_of(home: &Path) -> DevnetFolder {
    use std::os::unix::ffi::OsStringExt as _;
    let named = fs::read(home.join(RUNNING)).ok();
    named
        .map(|path| DevnetFolder::new(std::ffi::OsString::from_vec(path)))
        .filter(|folder| ProcessLock::holder(&folder.lock_path()).is_some())
        .unwrap_or_else(|| DevnetFolder::new(usual_folder(home)))
}

fn usual_folder(home: &Path) -> PathBuf {
    std::path::absolute(home)
        .unwrap_or_else(|_| home.to_owned())
        .join("devnet")
}

/// Says whether somebody takes connections at an `http://ip:port` URL.
fn answers(url: &str) -> bool {
    let address = url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .parse();
    address.is_ok_and(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok())
}
