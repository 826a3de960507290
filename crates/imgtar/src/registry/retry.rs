//! How long a registry is waited for, and what is tried again.
//!
//! Tried again: connections that are cut, refused or stand still, and the answers 408, 429 and 5xx,
//! after a pause that doubles each time and is never twice the same, or after the one that
//! `Retry-After` asks for.
//!
//! Source: RFC 9110, 10.2.3 (Retry-After), 15.5.9, 15.6; RFC 6585, 4 (429).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::error::Error;

/// How long a registry is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the next bytes of a connection. In each such span a body must also bring [`SLOWEST`]
    /// bytes.
    pub stall: Duration,
    /// For the answer to the last request of an upload, in which a registry may read all of it
    /// again.
    pub settle: Duration,
    /// How often one thing is tried again. A blob that comes on by a MiB has all tries anew.
    pub retries: u32,
    /// How long to wait before the second try.
    pub pause: Duration,
    /// The longest pause, whatever `Retry-After` says.
    pub longest: Duration,
    /// All pauses for one thing together.
    pub total: Duration,
    /// Whether what did not answer in time is asked again.
    pub insists: bool,
}

/// A body that brings fewer bytes than this in [`Patience::stall`] counts as one that stands still.
pub const SLOWEST: u64 = 16 << 10;
/// How long a place that is not waited for long may take to take an upload in.
pub const SETTLE: Duration = Duration::from_secs(60);
/// How often a host that does not answer is tried again.
const ABSENT: u32 = 2;
/// So much progress is worth all tries anew.
const PROGRESS: u64 = 1 << 20;

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(60),
            settle: Duration::from_secs(600),
            retries: 5,
            pause: Duration::from_millis(500),
            longest: Duration::from_secs(60),
            total: Duration::from_secs(180),
            insists: true,
        }
    }
}

impl Patience {
    /// For a place that others can stand in for: it may be silent for so long, once. The answer
    /// that ends an upload may take [`SETTLE`] all the same.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self {
            connect: limit,
            stall: limit,
            settle: limit.max(SETTLE),
            pause: Self::default().pause.min(limit / 4),
            longest: limit,
            total: limit,
            insists: false,
            ..Self::default()
        }
    }
}

/// Why something did not work out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may work the next time, after this pause where the registry asks for one.
    Passing { error: Error, after: Option<Duration> },
    /// There was no answer in time.
    Silent(Error),
    /// A host or a name does not exist, which seldom changes while a command waits.
    Absent(Error),
    /// It will not.
    Final(Error),
}

impl Failure {
    pub(crate) fn passing(error: impl Into<Error>) -> Self {
        Self::Passing { error: error.into(), after: None }
    }
}

impl Failure {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Passing { error, .. } | Self::Silent(error) | Self::Absent(error) | Self::Final(error) => {
                error
            }
        }
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

/// The tries at one thing.
#[derive(Debug)]
pub(crate) struct Tries {
    patience: Patience,
    made: u32,
    waited: Duration,
    /// How far it had come when the tries were last counted anew.
    mark: u64,
}

impl Tries {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, made: 0, waited: Duration::ZERO, mark: 0 }
    }

    /// It has come so far, in bytes.
    pub(crate) fn reached(&mut self, bytes: u64) {
        if bytes >= self.mark + PROGRESS {
            (self.mark, self.made, self.waited) = (bytes, 0, Duration::ZERO);
        }
    }

    /// Waits before the next try; returns the error where there is no next one.
    pub(crate) fn again(&mut self, failure: Failure) -> Result<(), Error> {
        let (error, after, retries) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Silent(error) if !self.patience.insists => return Err(error),
            Failure::Silent(error) => (error, None, self.patience.retries),
            Failure::Absent(error) => (error, None, self.patience.retries.min(ABSENT)),
            Failure::Passing { error, after } => (error, after, self.patience.retries),
        };
        let pause = self.pause(after, fraction());
        if self.made >= retries || self.waited + pause > self.patience.total {
            return Err(error);
        }
        self.made += 1;
        self.waited += pause;
        thread::sleep(pause);
        Ok(())
    }

    /// The pause: what is asked for, else between half and the whole of a span that doubles with
    /// each try.
    fn pause(&self, asked: Option<Duration>, fraction: f64) -> Duration {
        let doubled = self.patience.pause.saturating_mul(1 << self.made.min(16));
        let own = doubled.min(self.patience.longest).mul_f64(0.5 + fraction / 2.0);
        asked.map_or(own, |asked| asked.min(self.patience.longest))
    }
}

/// Between 0 and 1, another one each time and in each process.
fn fraction() -> f64 {
    let drawn = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0);
    f64::from(drawn) / f64::from(u32::MAX)
}

/// Tries until it works, or until trying again cannot help.
pub(crate) fn retrying<T>(
    patience: Patience,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Error> {
    let mut tries = Tries::new(patience);
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) => tries.again(failure)?,
        }
    }
}

/// The same, of a question: a place that is not waited for long says once more that it cannot
/// answer it, and that counts.
pub(crate) fn asking<T>(
    patience: Patience,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Error> {
    let mut unable = 0;
    retrying(patience, || {
        attempt().map_err(|failure| match failure {
            Failure::Passing { error, after } if !patience.insists && error.server_error().is_some() => {
                unable += 1;
                if unable > 1 { Failure::Final(error) } else { Failure::Passing { error, after } }
            }
            other => other,
        })
    })
}

/// What `Retry-After` asks for: seconds, or a date.
pub(crate) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(SystemTime::from(date.timestamp()).duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure::passing(Error::Usage { message: "no".to_owned(), help: "" })
    }

    fn quick() -> Patience {
        Patience { pause: Duration::from_millis(1), retries: 3, ..Patience::default() }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let wait = |text| retry_after(text, now);
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:07 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for text in ["", "-1", "1.5", "soon", "é"] {
            assert_eq!(wait(text), None, "{text}");
        }
    }

    #[test]
    fn pauses_double_and_have_a_bound() {
        let mut tries = Tries::new(Patience::default());
        assert_eq!(tries.pause(None, 0.0), Duration::from_millis(250));
        assert_eq!(tries.pause(None, 1.0), Duration::from_millis(500));
        tries.made = 3;
        assert_eq!(tries.pause(None, 1.0), Duration::from_secs(4));
        tries.made = 30;
        assert_eq!(tries.pause(None, 1.0), Duration::from_secs(60));
        assert_eq!(tries.pause(Some(Duration::from_secs(7)), 0.0), Duration::from_secs(7));
        assert_eq!(tries.pause(Some(Duration::from_secs(u64::MAX)), 0.0), Duration::from_secs(60));
    }

    #[test]
    fn tries_end() {
        let mut made = 0;
        let ended = retrying(quick(), || {
            made += 1;
            Err::<(), _>(failure())
        });
        assert!(ended.is_err());
        assert_eq!(made, 4);
    }

    #[test]
    fn a_question_that_a_place_cannot_answer_is_asked_twice() {
        let asked = |patience: Patience, status: u16| {
            let mut asked = 0;
            let ended = asking(patience, || {
                asked += 1;
                let (asked, said) = ("GET x".to_owned(), String::new());
                Err::<(), _>(Failure::passing(crate::error::registry::Error::Refused { asked, status, said }))
            });
            assert!(ended.is_err());
            asked
        };
        let hasty = Patience { insists: false, ..quick() };
        assert_eq!((asked(hasty, 500), asked(hasty, 429), asked(quick(), 500)), (2, 4, 4));
    }

    #[test]
    fn progress_is_worth_new_tries() {
        let mut tries = Tries::new(quick());
        for mib in 1..20 {
            tries.reached(mib << 20);
            tries.again(failure()).unwrap();
        }
        // One byte at a time is not progress.
        let ended = (0..9).try_for_each(|byte| {
            tries.reached((19 << 20) + byte);
            tries.again(failure())
        });
        assert!(ended.is_err());
    }

    #[test]
    fn what_stays_silent_is_asked_again_unless_another_place_will_do() {
        let silent = || {
            let Failure::Passing { error, .. } = failure() else { unreachable!() };
            Failure::Silent(error)
        };
        assert!(Tries::new(quick()).again(silent()).is_ok());
        let hasty = Patience { pause: Duration::from_millis(1), ..Patience::within(Duration::from_secs(9)) };
        assert!(Tries::new(hasty).again(silent()).is_err());
        assert!(Tries::new(hasty).again(failure()).is_ok());
    }

    #[test]
    fn the_sum_of_the_pauses_has_a_bound() {
        let mut tries = Tries::new(Patience { total: Duration::from_secs(2), ..quick() });
        let error = Error::Usage { message: "no".to_owned(), help: "" };
        let busy = Failure::Passing { error, after: Some(Duration::from_secs(3)) };
        assert!(tries.again(busy).is_err());
    }
}
