//! Timers of a connection that are set for every request and hardly ever ring.
//!
//! To set a timer anew costs two locks of the runtime's wheel, to put one off costs none. So a connection
//! keeps the one that its last request has left, and puts it off for the next.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Sleep as HyperSleep, Timer};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

/// Alarms of one connection, always for the same time; one is used again and again. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Alarms(Arc<Mutex<Option<Pin<Box<Sleep>>>>>);

/// Rings once at its time; when dropped, it goes back to where it came from.
#[derive(Debug)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    home: Alarms,
}

impl Alarms {
    /// Sets an alarm.
    pub(super) fn after(&self, time: Duration) -> Alarm {
        self.at(Instant::now() + time)
    }

    fn at(&self, deadline: Instant) -> Alarm {
        let kept = self.0.lock().take();
        let sleep = match kept {
            Some(mut sleep) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
            None => Box::pin(tokio::time::sleep_until(deadline)),
        };
        Alarm {
            sleep: Some(sleep),
            home: self.clone(),
        }
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(sleep) = self.sleep.take() {
            *self.home.0.lock() = Some(sleep);
        }
    }
}

impl HyperSleep for Alarm {}

impl Timer for Alarms {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn HyperSleep>> {
        Box::pin(self.after(duration))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn HyperSleep>> {
        Box::pin(self.at(deadline.into()))
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn alarm_that_was_put_off_rings_at_its_new_time_and_can_be_set_again() {
        let alarms = Alarms::default();
        let ms = Duration::from_millis;
        for _ in 0..3 {
            drop(alarms.after(ms(30)));
            let begun = Instant::now();
            let mut alarm = alarms.after(ms(90));
            tokio::time::sleep(ms(50)).await;
            let early = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut alarm).poll(cx)));
            assert!(early.await.is_pending());
            alarm.await;
            assert!(begun.elapsed() >= ms(90));
        }
    }
}
