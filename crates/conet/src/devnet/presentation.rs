//! What `devnet up` prints when everything runs.

use super::notes::HOST;
use super::plan::{DevnetFolder, Plan};
use super::status::{describe, table};
use crate::context::Context;
use crate::failure::Outcome;
use crate::screen::{print, print_json};

/// Prints what runs and what to try.
pub(super) fn present(
    context: &Context,
    folder: &DevnetFolder,
    plan: &Plan,
    ephemeral: bool,
) -> Outcome<()> {
    if context.global.json {
        return print_json(&describe(folder, plan)?);
    }
    print(&table(folder, plan)?)?;
    print("")?;
    print("alice and bob have wallets with an EMPTY password: for play, for nothing else.")?;
    print("In a second terminal:")?;
    print("")?;
    let conet = command(context);
    for words in [
        "--wallet alice send bob \"hi\"",
        "--wallet bob listen",
        "--wallet bob chat alice",
        "proxy",
        "devnet status",
    ] {
        print(&format!("  {conet} {words}"))?;
    }
    print("")?;
    if folder.notes_path().is_dir() {
        let pac = "http://127.0.0.1:8080/proxy.pac";
        print(&format!(
            "A server that nobody can locate, and no login: with the proxy running, open http://{HOST}/ in a"
        ))?;
        print(&format!(
            "browser that is set to the automatic proxy configuration {pac}."
        ))?;
        print("")?;
    }
    if !plan.listen.is_loopback() {
        let file = folder.network_path();
        print(&format!(
            "Another machine takes part with a copy of {} and --network FILE.",
            file.display()
        ))?;
    }
    print(if ephemeral {
        "Ctrl-C stops it and leaves nothing behind."
    } else {
        "Ctrl-C stops it; the same command resumes it."
    })
}

/// How this very program is called from the folder of this terminal.
fn command(context: &Context) -> String {
    let program = std::env::current_exe().ok();
    let on_path = program.as_ref().is_some_and(|program| {
        std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| Some(folder.as_path()) == program.parent())
        })
    });
    let program = match program {
        Some(program) if !on_path => {
            let here = std::env::current_dir().ok();
            let short = here
                .as_ref()
                .and_then(|here| program.strip_prefix(here).ok().map(|path| path.to_owned()));
            let program = short.unwrap_or(program).display().to_string();
            // Without a slash, the shell would look for it on its path only.
            quoted(&if program.contains('/') {
                program
            } else {
                format!("./{program}")
            })
        }
        _ => "conet".to_owned(),
    };
    // Given by the option, it must be given again; from the environment it is inherited, perhaps not there.
    match &context.global.home {
        Some(home) => {
            let home = std::path::absolute(home).unwrap_or_else(|_| home.clone());
            format!("{program} --home {}", quoted(&home.display().to_string()))
        }
        None => program,
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
