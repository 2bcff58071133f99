//! Times as people and programs read them (RFC 3339, UTC).

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// A Unix time in milliseconds as `2026-01-31T23:59:59.123Z`.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / DAY_MS);
    let (hour, minute, second, ms) = clock(unix_ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// A Unix time in milliseconds as `2026-01-31 23:59`.
pub(crate) fn short(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / DAY_MS);
    let (hour, minute, ..) = clock(unix_ms);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// The time of the day alone, as `23:59`.
pub(crate) fn of_day(unix_ms: u64) -> String {
    let (hour, minute, ..) = clock(unix_ms);
    format!("{hour:02}:{minute:02}")
}

/// This moment.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn clock(unix_ms: u64) -> (u64, u64, u64, u64) {
    let ms = unix_ms % DAY_MS;
    (
        ms / 3_600_000,
        ms / 60_000 % 60,
        ms / 1_000 % 60,
        ms % 1_000,
    )
}

/// Year, month and day of a number of days since 1970-01-01, by whole 400-year cycles of the Gregorian
/// calendar counted from March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (cycle, in_cycle) = (days / 146_097, days % 146_097);
    let year_of_cycle =
        (in_cycle - in_cycle / 1_460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let in_year = in_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (
        cycle * 400 + year_of_cycle + u64::from(month <= 2),
        month,
        day,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_is_written_as_the_calendar_has_it() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_767_225_600_001), "2026-01-01T00:00:00.001Z");
        assert_eq!(short(4_107_542_399_000), "2100-02-28 23:59");
        assert_eq!(short(4_107_542_400_000), "2100-03-01 00:00");
    }
}
