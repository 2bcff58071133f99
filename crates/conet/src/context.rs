//! The global options, resolved.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use ledger::NetworkFile;
use zeroize::Zeroizing;

use crate::cli::Global;
use crate::failure::{Context as _, Exit, Failure, Outcome};

/// Environment variable with a wallet's password, for scripts.
const PASSWORD_VARIABLE: &str = "CONET_PASSWORD";
/// The longest password that is read from a file, bytes.
const MAX_PASSWORD_BYTES: u64 = 4_096;

/// What commands are told besides their own arguments.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) global: Global,
    home: PathBuf,
}

impl Context {
    pub(crate) fn new(global: Global) -> Outcome<Self> {
        let home = match &global.home {
            Some(home) => home.clone(),
            None => etcetera::choose_base_strategy()
                .context("no home directory: give --home")?
                .data_dir()
                .join("conet"),
        };
        Ok(Self { global, home })
    }

    /// The home folder; it may not be there yet.
    pub(crate) fn home_path(&self) -> &Path {
        &self.home
    }

    /// The network that was named, by its file or by its name in the home.
    pub(crate) fn network(&self) -> Outcome<NetworkFile> {
        let path = self.network_path();
        if !path.exists() {
            let name = &self.global.network;
            let advice = if name == "devnet" {
                "start one with `conet devnet up`, or give --network FILE".to_owned()
            } else {
                format!("give the path of its file, or put it at {}", path.display())
            };
            return Err(Failure::new(
                Exit::NotFound,
                format!("there is no network {name} here: {advice}"),
            ));
        }
        NetworkFile::load(&path).context(path.display())
    }

    fn network_path(&self) -> PathBuf {
        let named = Path::new(&self.global.network);
        let in_home = self.network_path_of(&self.global.network);
        let is_path = named.components().count() > 1 || named.is_file();
        if is_path && !in_home.is_file() {
            named.to_owned()
        } else {
            in_home
        }
    }

    /// Where the home has the file of the network of that name.
    pub(crate) fn network_path_of(&self, name: &str) -> PathBuf {
        self.home.join("networks").join(format!("{name}.json"))
    }

    /// The password from file or environment, if either was given.
    pub(crate) fn given_password(&self) -> Outcome<Option<Zeroizing<String>>> {
        if let Some(path) = &self.global.password_file {
            return read_password(path).context(path.display()).map(Some);
        }
        match std::env::var(PASSWORD_VARIABLE) {
            Ok(password) => Ok(Some(Zeroizing::new(password))),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(_) => Err(Failure::error(format!(
                "{PASSWORD_VARIABLE} is no UTF-8 text"
            ))),
        }
    }

    /// The password of something that exists: given, or asked for.
    pub(crate) fn password(&self, of: &str) -> Outcome<Zeroizing<String>> {
        match self.given_password()? {
            Some(password) => Ok(password),
            None => ask(&format!("Password of {of}: ")),
        }
    }

    /// A new password: given, or asked for twice.
    pub(crate) fn new_password(&self, of: &str) -> Outcome<Zeroizing<String>> {
        if let Some(password) = self.given_password()? {
            return Ok(password);
        }
        let password = ask(&format!("New password of {of}: "))?;
        if password != ask("The same again: ")? {
            return Err(Failure::error("the two passwords differ: try again"));
        }
        Ok(password)
    }
}

fn ask(prompt: &str) -> Outcome<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        let advice = format!("give --password-file or set {PASSWORD_VARIABLE}");
        return Err(Failure::new(
            Exit::Refused,
            format!("a password is needed and there is no terminal: {advice}"),
        ));
    }
    Ok(Zeroizing::new(rpassword::prompt_password(prompt)?))
}

fn read_password(path: &Path) -> Outcome<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(256));
    BufReader::new(File::open(path)?.take(MAX_PASSWORD_BYTES)).read_line(&mut line)?;
    Ok(Zeroizing::new(
        line.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_file_gives_its_first_line_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, " geheim \r\nsecond\n").unwrap();
        assert_eq!(read_password(&path).unwrap().as_str(), " geheim ");
    }
}
