//! When a failed attempt is made again.

use std::time::Duration;

use rand::Rng as _;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// While somebody waits for `send`.
const LONGEST_ATTENDED: Duration = Duration::from_secs(20);
/// While nobody does.
const LONGEST_UNATTENDED: Duration = Duration::from_secs(15 * 60);

/// How long to wait after so many attempts: twice as long each time, give or take half.
///
/// `attended` is how long at most while a user waits.
pub(crate) fn pause(attempts: u32, attended: bool) -> Duration {
    let longest = if attended {
        LONGEST_ATTENDED
    } else {
        LONGEST_UNATTENDED
    };
    let doubled = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    // So that clients that failed together do not come back together.
    doubled
        .min(longest)
        .mul_f64(rand::thread_rng().gen_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_grows_but_stays_within_its_bounds() {
        assert!(pause(1, true) < Duration::from_secs(2));
        assert!(pause(4, true) >= Duration::from_secs(4));
        for attempts in [0, 10, 20, 1_000, u32::MAX] {
            assert!(pause(attempts, true) <= LONGEST_ATTENDED.mul_f64(1.5));
            assert!(pause(attempts, false) <= LONGEST_UNATTENDED.mul_f64(1.5));
        }
    }
}
