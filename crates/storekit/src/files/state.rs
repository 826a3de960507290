//! Whether a file is still the one that was read: the same inode, size and times.
//!
//! Reading a file's times costs microseconds, reading the file may cost minutes. But a change
//! within one tick of the file system's clock leaves them all as they were, so a state that is
//! younger than that proves nothing. Limits: a file server whose clock is behind; a program that
//! changes a file through a shared memory mapping; a disk that changes bytes by itself.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// No kernel's clock for files ticks more slowly: Linux takes 10 ms at most (`CONFIG_HZ`).
const TICK: Duration = Duration::from_millis(20);
/// The same where times have no fraction: some file systems keep whole seconds, or every second
/// one.
const COARSE_TICK: Duration = Duration::from_secs(2);

/// A state of a file.
#[derive(Clone, Copy, Debug)]
pub struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    /// In nanoseconds since 1970.
    modified: i128,
    /// Of content or metadata, in nanoseconds since 1970. No program can choose it.
    changed: i128,
    /// Whether any later change shows.
    settled: bool,
}

/// A state in few bytes, for very many files of one file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShortState {
    bytes: [u8; 24],
    settled: bool,
}

impl ShortState {
    /// As [`FileState::to_bytes`].
    #[must_use]
    pub fn to_bytes(self) -> Option<[u8; 24]> {
        self.settled.then_some(self.bytes)
    }

    /// As [`FileState::is_still_at`].
    #[must_use]
    pub fn is_still_at(&self, bytes: &[u8; 24]) -> bool {
        // A state that cannot be written is zero.
        self.bytes == *bytes && self.bytes != [0; 24]
    }
}

impl FileState {
    /// The state of a file that is looked at now, and read after that.
    #[must_use]
    pub fn seen(metadata: &Metadata) -> Self {
        let state = Self::written(metadata);
        Self { settled: state.age() >= state.tick(), ..state }
    }

    /// The same, of a file that was looked at by its name in an open folder.
    #[must_use]
    pub fn of(stat: &rustix::fs::Stat) -> Self {
        let state = Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: nanoseconds(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            changed: nanoseconds(stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
            settled: true,
        };
        Self { settled: state.age() >= state.tick(), ..state }
    }

    /// The state of a file that this process wrote just now, under a name that nobody else writes
    /// to: its content is known without being read.
    #[must_use]
    pub fn written(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            settled: true,
        }
    }

    /// The state of an open file. Waits for the next tick of the clock where the file was changed
    /// in this one, so that any later change shows.
    ///
    /// # Errors
    /// The system's, where the file cannot be looked at.
    pub fn settled(file: &File) -> io::Result<Self> {
        let state = Self::seen(&file.metadata()?);
        if !state.settled {
            thread::sleep(state.tick().saturating_sub(state.age()).min(state.tick()));
        }
        file.metadata().map(|metadata| Self::seen(&metadata))
    }

    /// Whether a file that is in the state `later` now has the content that it had in this one.
    #[must_use]
    pub fn is_still(&self, later: &Self) -> bool {
        self.settled && self.numbers() == later.numbers()
    }

    /// Bytes in the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// As five numbers, for a note on disk. `None` for a state that proves nothing.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        self.settled.then(|| self.numbers().map(|number| number.to_string()).join(" "))
    }

    /// The same for notes of very many files that all lie on one file system: inode, size and time
    /// of the last change, each in 8 bytes, the smallest first. No program can change a file, nor
    /// its other times, and leave that time as it was. `None` for a state that proves nothing.
    #[must_use]
    pub fn to_bytes(&self) -> Option<[u8; 24]> {
        let changed = i64::try_from(self.changed).ok().filter(|_| self.settled)?;
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.inode.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.size.to_le_bytes());
        bytes[16..].copy_from_slice(&changed.to_le_bytes());
        Some(bytes)
    }

    /// The same, whether it proves anything or not.
    #[must_use]
    pub fn short(&self) -> ShortState {
        let bytes = Self { settled: true, ..*self }.to_bytes();
        ShortState { bytes: bytes.unwrap_or_default(), settled: self.settled && bytes.is_some() }
    }

    /// Whether a file that is in this state now has the content that it had in the one of
    /// [`FileState::to_bytes`].
    #[must_use]
    pub fn is_still_at(&self, bytes: &[u8; 24]) -> bool {
        Self { settled: true, ..*self }.to_bytes().is_some_and(|now| now == *bytes)
    }

    /// When the content was last changed, or a time set that says so: in nanoseconds since 1970.
    #[must_use]
    pub fn modified(&self) -> i128 {
        self.modified
    }

    /// Reads what [`FileState::to_text`] wrote; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<i128> = text.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [device, inode, size, modified, changed] = numbers.try_into().ok()?;
        let [device, inode, size] = [device, inode, size].map(u64::try_from);
        Some(Self {
            device: device.ok()?,
            inode: inode.ok()?,
            size: size.ok()?,
            modified,
            changed,
            settled: true,
        })
    }

    fn numbers(&self) -> [i128; 5] {
        [self.device.into(), self.inode.into(), self.size.into(), self.modified, self.changed]
    }

    /// The time since the last change; zero for one in the future.
    fn age(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = i128::try_from(now.as_nanos()).unwrap_or_default() - self.changed;
        Duration::from_nanos(u64::try_from(age.max(0)).unwrap_or(u64::MAX))
    }

    fn tick(&self) -> Duration {
        if self.changed % 1_000_000_000 == 0 { COARSE_TICK } else { TICK }
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn seen(file: &File) -> FileState {
        FileState::seen(&file.metadata().unwrap())
    }

    #[test]
    fn a_file_that_was_changed_in_this_tick_proves_nothing() {
        let fresh = file(b"one");
        let state = seen(&fresh);
        // A slow machine may take longer than a tick from one line to the next.
        if !state.settled {
            assert!(!state.is_still(&state) && state.to_text().is_none());
        }
        let state = FileState::settled(&fresh).unwrap();
        assert!(state.is_still(&seen(&fresh)));
    }

    #[test]
    fn a_change_of_the_same_length_shows_once_the_state_is_settled() {
        for _ in 0..20 {
            let mut file = file(b"one");
            let state = FileState::settled(&file).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            file.write_all(b"").unwrap();
            assert!(state.is_still(&seen(&file)));
            std::os::unix::fs::FileExt::write_all_at(&file, b"two", 0).unwrap();
            file.set_modified(modified).unwrap();
            assert!(!state.is_still(&seen(&file)));
        }
    }

    #[test]
    fn what_was_just_written_is_known() {
        let file = file(b"one");
        let state = FileState::written(&file.metadata().unwrap());
        assert!(state.is_still(&seen(&file)));
        assert_eq!(state.size(), 3);
    }

    #[test]
    fn a_short_note_knows_the_file_by_its_last_change() {
        let mut file = file(b"one");
        let state = FileState::settled(&file).unwrap();
        let note = state.to_bytes().unwrap();
        assert!(seen(&file).is_still_at(&note));
        let modified = file.metadata().unwrap().modified().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"two", 0).unwrap();
        file.set_modified(modified).unwrap();
        assert!(!seen(&file).is_still_at(&note));
        file.write_all(b"more").unwrap();
        assert!(!seen(&file).is_still_at(&note));
        assert!(FileState { settled: false, ..state }.to_bytes().is_none());
        assert!(FileState { changed: i128::MAX, ..state }.to_bytes().is_none());
    }

    #[test]
    fn times_without_a_fraction_ask_for_more_patience() {
        let state = FileState::written(&file(b"").metadata().unwrap());
        assert_eq!(FileState { changed: 5_000_000_000, ..state }.tick(), COARSE_TICK);
        assert_eq!(FileState { changed: 5_000_000_001, ..state }.tick(), TICK);
        assert_eq!(FileState { changed: i128::MAX, ..state }.age(), Duration::ZERO);
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let state = FileState::written(&file(b"one").metadata().unwrap());
        let text = state.to_text().unwrap();
        assert!(FileState::parse(&text).unwrap().is_still(&state));
        for text in ["", "1 2 3 4", "1 2 3 4 5 6", "1 2 -3 4 5", "a b c d e"] {
            assert!(FileState::parse(text).is_none(), "{text}");
        }
    }
}
