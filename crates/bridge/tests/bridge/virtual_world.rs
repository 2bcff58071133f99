//! A world of made-up names and hosts on a virtual clock: nothing waits, and every moment is exact.

use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bridge::{Bridge, Config, Outside, Resolution, Resolve, ResolveError, Route};

/// Steps of the clock in one run at most.
const MAX_STEPS: usize = 10_000;

/// What a host does with who connects.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Behaviour {
    /// Accepts after so many milliseconds.
    Accepts(u64),
    /// Refuses after so many milliseconds.
    Refuses(u64),
    /// There is no route.
    NoRoute,
    /// The machine fails to make a socket.
    NoSocket,
}

/// The world; hosts that are not named are silent.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    now: Duration,
    start: Option<Instant>,
    sleepers: Vec<(Duration, Waker)>,
    hosts: HashMap<SocketAddr, Behaviour>,
    own: HashSet<IpAddr>,
    names: HashMap<String, VecDeque<Result<Vec<IpAddr>, ResolveError>>>,
    /// Who was connected to, and when, in milliseconds.
    attempts: Vec<(u64, SocketAddr)>,
    /// Which names were asked for.
    questions: Vec<String>,
}

impl World {
    pub(crate) fn bridge(&self, config: Config) -> Bridge<World> {
        Bridge::with(config, Arc::new(self.clone()), self.clone())
    }

    pub(crate) fn host(self, address: &str, behaviour: Behaviour) -> Self {
        let address = address.parse().unwrap();
        self.0.lock().unwrap().hosts.insert(address, behaviour);
        self
    }

    pub(crate) fn own(self, address: &str) -> Self {
        let address = address.parse().unwrap();
        self.0.lock().unwrap().own.insert(address);
        self
    }

    /// Adds an answer for a name. The last one is given again and again.
    pub(crate) fn name(self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.answer(name, Ok(addresses))
    }

    pub(crate) fn answer(self, name: &str, answer: Result<Vec<IpAddr>, ResolveError>) -> Self {
        let mut state = self.0.lock().unwrap();
        state
            .names
            .entry(name.to_owned())
            .or_default()
            .push_back(answer);
        drop(state);
        self
    }

    pub(crate) fn attempts(&self) -> Vec<(u64, String)> {
        let state = self.0.lock().unwrap();
        let written = state.attempts.iter().map(|(at, to)| (*at, to.to_string()));
        written.collect()
    }

    pub(crate) fn attempted(&self) -> Vec<String> {
        self.attempts().into_iter().map(|(_, to)| to).collect()
    }

    pub(crate) fn questions(&self) -> Vec<String> {
        self.0.lock().unwrap().questions.clone()
    }

    pub(crate) fn now_ms(&self) -> u128 {
        self.0.lock().unwrap().now.as_millis()
    }

    /// Runs a future, and lets time pass only when nothing else can.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..MAX_STEPS {
            if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
                return done;
            }
            self.step();
        }
        panic!("the future does not end");
    }

    fn step(&self) {
        let mut state = self.0.lock().unwrap();
        let next = state.sleepers.iter().map(|(until, _)| *until).min();
        state.now = next.expect("nobody sleeps, so that nobody will ever wake");
        let now = state.now;
        let (due, rest) = std::mem::take(&mut state.sleepers)
            .into_iter()
            .partition(|(until, _)| *until <= now);
        state.sleepers = rest;
        drop(state);
        let due: Vec<(Duration, Waker)> = due;
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn sleep_for(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        let state = Arc::clone(&self.0);
        let until = state.lock().unwrap().now + duration;
        poll_fn(move |context| {
            let mut state = state.lock().unwrap();
            if state.now >= until {
                return Poll::Ready(());
            }
            state.sleepers.push((until, context.waker().clone()));
            Poll::Pending
        })
    }
}

impl Outside for World {
    type Stream = SocketAddr;

    async fn connect(&self, to: SocketAddr) -> io::Result<SocketAddr> {
        let behaviour = {
            let mut state = self.0.lock().unwrap();
            let at = u64::try_from(state.now.as_millis()).unwrap();
            state.attempts.push((at, to));
            state.hosts.get(&to).copied()
        };
        match behaviour {
            Some(Behaviour::Accepts(ms)) => {
                self.sleep_for(Duration::from_millis(ms)).await;
                Ok(to)
            }
            Some(Behaviour::Refuses(ms)) => {
                self.sleep_for(Duration::from_millis(ms)).await;
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            Some(Behaviour::NoSocket) => Err(io::ErrorKind::Other.into()),
            Some(Behaviour::NoRoute) | None => core::future::pending().await,
        }
    }

    fn route(&self, to: IpAddr) -> io::Result<Route> {
        let state = self.0.lock().unwrap();
        let mut hosts = state.hosts.iter();
        if state.own.contains(&to) {
            Ok(Route::Own)
        } else if hosts.any(|(host, what)| host.ip() == to && matches!(what, Behaviour::NoRoute)) {
            Ok(Route::Nowhere)
        } else {
            Ok(Route::Away)
        }
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        self.sleep_for(duration)
    }

    fn now(&self) -> Instant {
        let mut state = self.0.lock().unwrap();
        let now = state.now;
        *state.start.get_or_insert_with(Instant::now) + now
    }
}

impl Resolve for World {
    fn resolve<'a>(&'a self, name: &'a protocol::target::HostName) -> Resolution<'a> {
        let mut state = self.0.lock().unwrap();
        state.questions.push(name.to_string());
        let answer = match state.names.get_mut(name.as_str()) {
            Some(answers) if answers.len() > 1 => answers.pop_front(),
            Some(answers) => answers.front().cloned(),
            None => None,
        };
        match answer {
            Some(answer) => Box::pin(core::future::ready(answer)),
            None => Box::pin(core::future::pending()),
        }
    }
}
