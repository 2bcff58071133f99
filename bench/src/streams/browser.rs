//! Pages in Chromium, through the network and past it.
//!
//! Chromium is driven over its DevTools protocol on a pair of pipes. Each load has a browser context of its own, so that
//! it finds neither a cache nor a connection. Chromium lets no PAC file decide about loopback addresses, at which the web
//! site of this run is; so it is told the proxy that our PAC file names first.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::ours::{Hops, Ours};
use super::sockets;
use super::socks::Target;
use super::web::{OBJECTS, PAGE, Web};
use crate::report::{Figure, Report, quantile};

/// One step of Chromium, or one page, at most.
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages that are passed over at most while one is waited for.
const MAX_PASSED: usize = 10_000;
const WARM_UP: usize = 3;

/// A Chromium without a window.
struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    last: u64,
    _folder: TempDir,
}

/// Measures from the order to load the page to its load event.
pub(super) async fn measure(
    report: &mut Report,
    ours: &Ours,
    web: &Web,
    loads: usize,
) -> anyhow::Result<()> {
    let proxy = ours
        .proxy(Hops::Relayed, false, &Target::from(web.socket))
        .await?;
    let socks = proxy.way.socks.context("no proxy")?;
    let proxied = format!("socks5://{socks}");
    let bridges: Vec<u32> = ours
        .nodes
        .iter()
        .filter(|node| node.bridge)
        .map(|node| node.pid)
        .collect();
    let mut browser = Browser::start()?;
    let (mut through, mut direct) = (Vec::new(), Vec::new());
    let (mut shares, mut unknown) = (HashMap::<u32, usize>::new(), 0);
    for load in 0..WARM_UP + loads {
        let seen = web.asked_from().map_or(0, |ports| ports.len());
        let page = browser.load(web, Some(&proxied)).await?;
        // Whose ports they are can be seen as long as Chromium keeps the connections.
        let mut owners = HashMap::new();
        for id in &bridges {
            let to_web = |socket: &sockets::Socket| socket.remote_port == web.socket.port();
            let own = sockets::of(*id)?.into_iter().filter(to_web);
            owners.extend(own.map(|socket| (socket.local_port, *id)));
        }
        browser.forget(&page.context).await?;
        let past = browser.load(web, None).await?;
        browser.forget(&past.context).await?;
        if load < WARM_UP {
            continue;
        }
        through.push(page.ms);
        direct.push(past.ms);
        for port in web.asked_from()?.iter().skip(seen).take(OBJECTS) {
            match owners.get(port) {
                Some(id) => *shares.entry(*id).or_default() += 1,
                None => unknown += 1,
            }
        }
    }
    browser.end().await;
    let all = (loads * OBJECTS) as f64;
    for (name, part) in [("median", 0.5), ("p95", 0.95)] {
        let ours = vec![quantile(&through, part)];
        let figure = Figure::beside(
            format!("streams: page of {OBJECTS} objects, {name}"),
            "ms",
            ours,
            "direct",
            &[quantile(&direct, part)],
        );
        report.add(figure.note(format!("{loads} loads in Chromium")));
    }
    for (place, id) in bridges.iter().enumerate() {
        let share = shares.get(id).copied().unwrap_or_default() as f64 / all * 100.0;
        let name = format!("streams: objects over bridge {}", place + 1);
        report.add(Figure::alone(name, "%", vec![share]));
    }
    if unknown > 0 {
        report.say(&format!(
            "streams: {unknown} objects over connections that were gone"
        ));
    }
    Ok(())
}

/// A page that was loaded.
struct Loaded {
    context: String,
    ms: f64,
}

impl Browser {
    fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // Chromium takes orders on descriptor 3 and answers on 4.
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "sh", "-c"])
            .arg("exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null")
            .args([
                "chromium",
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
            ])
            .args([
                "--remote-debugging-pipe",
                "--no-first-run",
                "--disable-sync",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--disable-default-apps",
                "--no-proxy-server",
            ])
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("chromium does not start")?;
        let to = process.stdin.take().context("no input")?;
        let from = BufReader::new(process.stdout.take().context("no output")?);
        Ok(Self {
            process,
            to,
            from,
            last: 0,
            _folder: folder,
        })
    }

    /// Gives an order, of a page if there is a session, and waits for its outcome.
    async fn order(
        &mut self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> anyhow::Result<Value> {
        self.last += 1;
        let id = self.last;
        let mut order = json!({ "id": id, "method": method, "params": parameters });
        if let (Some(session), Some(order)) = (session, order.as_object_mut()) {
            order.insert("sessionId".into(), session.into());
        }
        let mut bytes = serde_json::to_vec(&order)?;
        bytes.push(0);
        self.to.write_all(&bytes).await?;
        let answer = self.wait(|message| message["id"] == id).await?;
        if let Some(error) = answer.get("error") {
            bail!("{method}: {error}");
        }
        Ok(answer.get("result").cloned().unwrap_or_default())
    }

    async fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        timeout(PATIENCE, async {
            for _ in 0..MAX_PASSED {
                let mut bytes = Vec::new();
                let read = self.from.read_until(0, &mut bytes).await?;
                ensure!(read > 0, "chromium ended");
                bytes.pop();
                let message = serde_json::from_slice(&bytes)?;
                if wanted(&message) {
                    return Ok(message);
                }
            }
            bail!("chromium says too much")
        })
        .await
        .context("chromium did not answer in time")?
    }

    async fn load(&mut self, web: &Web, proxy: Option<&str>) -> anyhow::Result<Loaded> {
        let parameters = match proxy {
            Some(proxy) => json!({ "proxyServer": proxy, "proxyBypassList": "<-loopback>" }),
            None => json!({}),
        };
        let made = self
            .order(None, "Target.createBrowserContext", parameters)
            .await?;
        let context = text(&made, "browserContextId")?;
        let blank = json!({ "url": "about:blank", "browserContextId": context });
        let target = text(
            &self.order(None, "Target.createTarget", blank).await?,
            "targetId",
        )?;
        let attach = json!({ "targetId": target, "flatten": true });
        let session = text(
            &self.order(None, "Target.attachToTarget", attach).await?,
            "sessionId",
        )?;
        let page = Some(session.as_str());
        self.order(page, "Page.enable", json!({})).await?;
        let url = format!("http://{}/{PAGE}", web.socket);
        let begun = Instant::now();
        self.order(page, "Page.navigate", json!({ "url": url }))
            .await?;
        self.wait(|message| {
            message["method"] == "Page.loadEventFired" && message["sessionId"] == session.as_str()
        })
        .await?;
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        // A picture or script that failed would be missing here.
        let count = json!({ "expression":
            "performance.getEntriesByType('resource').filter(r => r.responseStatus === 200).length" });
        let counted = self.order(page, "Runtime.evaluate", count).await?;
        let objects = counted
            .pointer("/result/value")
            .and_then(Value::as_u64)
            .unwrap_or_default() as usize
            + 1;
        ensure!(objects == OBJECTS, "{objects} objects of {OBJECTS} came");
        Ok(Loaded { context, ms })
    }

    async fn forget(&mut self, context: &str) -> anyhow::Result<()> {
        let context = json!({ "browserContextId": context });
        self.order(None, "Target.disposeBrowserContext", context)
            .await?;
        Ok(())
    }

    async fn end(mut self) {
        let _closed = self.order(None, "Browser.close", json!({})).await;
        let _ended = timeout(Duration::from_secs(5), self.process.wait()).await;
    }
}

fn text(value: &Value, field: &str) -> anyhow::Result<String> {
    let text = value[field].as_str();
    Ok(text
        .with_context(|| format!("chromium named no {field}"))?
        .to_owned())
}
