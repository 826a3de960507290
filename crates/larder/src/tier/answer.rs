//! What imgtar says of a tier with `--json`, beside what it was asked for.

use std::time::Duration;

use serde::Deserialize;

/// What `imgtar pull --json` and `push --json` say of the bytes.
#[derive(Deserialize)]
struct Moved {
    #[serde(default)]
    moved_bytes: u64,
    #[serde(default)]
    saved: bool,
}

/// What imgtar says with `--json` of a place that is slow.
#[derive(Deserialize)]
struct Slow {
    slow_seconds: f64,
}

/// What imgtar says with `--json` where a place answers, and could not do what it was asked for.
#[derive(Deserialize)]
struct Unable {
    #[expect(dead_code, reason = "that it is there says all")]
    server_error: u16,
}

/// What `imgtar push --json` says where a place keeps what is damaged.
#[derive(Deserialize)]
struct Kept {
    #[expect(dead_code, reason = "that it is there says all")]
    kept_damaged: String,
}

/// The lines of an answer that are of this kind.
pub(super) fn lines<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> impl Iterator<Item = T> {
    answer.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

/// Whether a push has written the entry.
pub(super) fn is_saved(answer: &[u8]) -> bool {
    lines::<Moved>(answer).any(|moved| moved.saved)
}

pub(super) fn moved(answer: &[u8]) -> u64 {
    lines::<Moved>(answer).map(|line| line.moved_bytes).fold(0, u64::saturating_add)
}

/// How long slow answers were waited for.
pub(super) fn slow_of(answer: &[u8]) -> Duration {
    let each = lines::<Slow>(answer).filter_map(|line| Duration::try_from_secs_f64(line.slow_seconds).ok());
    each.fold(Duration::ZERO, Duration::saturating_add)
}

/// Whether the answer says that the place could not do what it was asked for.
pub(super) fn is_unable(answer: &[u8]) -> bool {
    lines::<Unable>(answer).next().is_some()
}

/// Whether the answer of a push says that the place keeps what is damaged.
pub(super) fn is_kept(answer: &[u8]) -> bool {
    lines::<Kept>(answer).next().is_some()
}
