//! A build's context that comes as a tar, or as a Dockerfile alone, with what leads its steps to
//! the cache: every other byte passes as it came, and nothing is kept but the Dockerfile.
//!
//! Limits: a tar that is compressed passes unchanged, and so does a Dockerfile that is a link.
//!
//! Source: POSIX.1-2017, pax interchange format; GNU tar's long names and sparse files.

use std::io::{self, Read, Write};

/// A block of a tar.
const BLOCK: usize = 512;
/// No Dockerfile, and no header that goes before an entry, is larger: 4 MiB.
const CAP: u64 = 4 << 20;
/// The beginnings of what is compressed: gzip, zstd, xz, bzip2.
const COMPRESSED: [&[u8]; 4] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], b"\xfd7zXZ\0", b"BZh"];

/// What became of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The steps of its Dockerfile are led.
    Led,
    /// It has no such Dockerfile.
    Without,
    /// It is compressed, or nothing that could be read.
    Unread,
}

/// Passes the context on. `names` are the places that the Dockerfile may have in it; `lead` gives a
/// Dockerfile with what leads its steps. What is no tar to its end is the engine's to judge.
///
/// # Errors
/// Those of both ends.
pub fn pass(
    from: &mut impl Read,
    to: &mut impl Write,
    names: &[String],
    lead: &dyn Fn(&str) -> String,
) -> io::Result<Passed> {
    let mut first = take(from, BLOCK as u64)?;
    if let Some(header) = Header::read(&first) {
        let names = names.iter().map(|name| plain(name.as_bytes())).collect();
        return Tar { from, to, names, lead, led: false }.pass(header);
    }
    if !COMPRESSED.iter().any(|start| first.starts_with(start)) {
        first.extend(take(from, CAP)?);
        let text = std::str::from_utf8(&first).ok();
        if let Some(text) =
            text.filter(|it| (it.len() as u64) < CAP && !it.contains('\0') && !it.trim().is_empty())
        {
            to.write_all(lead(text).as_bytes())?;
            return to.flush().map(|()| Passed::Led);
        }
    }
    to.write_all(&first)?;
    io::copy(from, to)?;
    to.flush().map(|()| Passed::Unread)
}

/// So many bytes, or what there is.
fn take(from: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    let mut taken = Vec::new();
    from.take(size).read_to_end(&mut taken).map(|_| taken)
}

/// The header of an entry.
#[derive(Clone)]
struct Header([u8; BLOCK]);

impl Header {
    /// A block that is one, by its checksum.
    fn read(block: &[u8]) -> Option<Self> {
        let header = Self(block.try_into().ok()?);
        (header.number(148..156) == Some(header.sum())).then_some(header)
    }

    fn field(&self, at: std::ops::Range<usize>) -> &[u8] {
        let field = self.0.get(at).unwrap_or_default();
        field.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Octal digits, or in GNU's way a binary number behind a first byte with its highest bit set.
    fn number(&self, at: std::ops::Range<usize>) -> Option<u64> {
        let raw = self.0.get(at.clone()).unwrap_or_default();
        if raw.first().is_some_and(|byte| byte & 0x80 != 0) {
            let mut digits = raw.iter().skip(1);
            return digits.try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)));
        }
        let text = std::str::from_utf8(self.field(at)).ok()?.trim();
        if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
    }

    /// The sum of all bytes, those of the checksum counting as blanks.
    fn sum(&self) -> u64 {
        let value = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) };
        self.0.iter().enumerate().map(value).sum()
    }

    fn kind(&self) -> u8 {
        self.0[156]
    }

    fn name(&self) -> Vec<u8> {
        let (prefix, name) = (self.field(345..500), self.field(0..100));
        let is_ustar = self.0.get(257..263) == Some(b"ustar\0");
        if is_ustar && !prefix.is_empty() { [prefix, b"/", name].concat() } else { name.to_vec() }
    }

    /// With another size.
    fn sized(mut self, size: u64) -> Self {
        self.put(124..136, &format!("{size:011o}\0"));
        let sum = self.sum();
        self.put(148..156, &format!("{sum:06o}\0 "));
        self
    }

    fn put(&mut self, at: std::ops::Range<usize>, text: &str) {
        if let Some(field) = self.0.get_mut(at).filter(|field| field.len() == text.len()) {
            field.copy_from_slice(text.as_bytes());
        }
    }
}

/// What headers before an entry say of it.
#[derive(Default)]
struct Said {
    /// The headers themselves, as they came.
    bytes: Vec<u8>,
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

struct Tar<'a, R, W> {
    from: &'a mut R,
    to: &'a mut W,
    /// Without what means nothing in a path.
    names: Vec<Vec<u8>>,
    lead: &'a dyn Fn(&str) -> String,
    led: bool,
}

impl<R: Read, W: Write> Tar<'_, R, W> {
    fn pass(mut self, first: Header) -> io::Result<Passed> {
        let (mut next, mut said) = (Some(first), Said::default());
        while let Some(header) = next {
            match header.kind() {
                b'x' | b'L' | b'K' => self.hold(&header, &mut said)?,
                _ => self.entry(header, std::mem::take(&mut said))?,
            }
            let block = take(self.from, BLOCK as u64)?;
            next = Header::read(&block);
            if next.is_none() {
                self.to.write_all(&said.bytes)?;
                self.to.write_all(&block)?;
            }
        }
        io::copy(self.from, self.to)?;
        self.to.flush()?;
        Ok(if self.led { Passed::Led } else { Passed::Without })
    }

    /// A header that says something of the next entry.
    fn hold(&mut self, header: &Header, said: &mut Said) -> io::Result<()> {
        let size = header.number(124..136).unwrap_or_default();
        if size > CAP || said.bytes.len() as u64 > CAP {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a header of the tar is too large"));
        }
        let data = self.data(size)?;
        said.bytes.extend_from_slice(&header.0);
        said.bytes.extend_from_slice(&data);
        let content = front(&data, size);
        match header.kind() {
            b'L' => said.name = content.split(|byte| *byte == 0).next().map(<[u8]>::to_vec),
            b'x' => {
                for (name, value) in records(content) {
                    match name {
                        b"path" => said.name = Some(value.to_vec()),
                        b"size" => said.size = std::str::from_utf8(value).ok().and_then(|it| it.parse().ok()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn entry(&mut self, header: Header, said: Said) -> io::Result<()> {
        let size = said.size.or_else(|| header.number(124..136)).unwrap_or_default();
        let name = plain(&said.name.unwrap_or_else(|| header.name()));
        let is_file = matches!(header.kind(), b'0' | 0);
        self.to.write_all(&said.bytes)?;
        if is_file && size <= CAP && said.size.is_none() && self.names.contains(&name) {
            return self.dockerfile(header, size);
        }
        self.to.write_all(&header.0)?;
        if header.kind() == b'S' && header.0[482] != 0 {
            self.more_of_a_sparse_file()?;
        }
        // What is no file has no data, whatever size is said.
        let has_data = !matches!(header.kind(), b'1'..=b'6');
        self.copy(if has_data { size } else { 0 })
    }

    fn dockerfile(&mut self, header: Header, size: u64) -> io::Result<()> {
        let data = self.data(size)?;
        let text = front(&data, size);
        let text = std::str::from_utf8(text).ok().filter(|it| it.len() as u64 == size);
        let Some(text) = text else {
            self.to.write_all(&header.0)?;
            return self.to.write_all(&data);
        };
        let led = (self.lead)(text).into_bytes();
        self.led = true;
        self.to.write_all(&header.sized(led.len() as u64).0)?;
        self.to.write_all(&led)?;
        self.to.write_all(&[0; BLOCK][..led.len().next_multiple_of(BLOCK) - led.len()])
    }

    /// The blocks that follow the header of such a file before its data.
    fn more_of_a_sparse_file(&mut self) -> io::Result<()> {
        loop {
            let block = take(self.from, BLOCK as u64)?;
            self.to.write_all(&block)?;
            if block.get(504).is_none_or(|more| *more == 0) {
                return Ok(());
            }
        }
    }

    /// An entry's data, with what fills its last block.
    fn data(&mut self, size: u64) -> io::Result<Vec<u8>> {
        take(self.from, size.next_multiple_of(BLOCK as u64))
    }

    fn copy(&mut self, size: u64) -> io::Result<()> {
        let size = size.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX);
        io::copy(&mut self.from.take(size), self.to).map(drop)
    }
}

/// As much of the data as there is, up to that size.
fn front(data: &[u8], size: u64) -> &[u8] {
    usize::try_from(size).ok().and_then(|size| data.get(..size)).unwrap_or(data)
}

/// The records of a pax header: `LENGTH NAME=VALUE`, with a line feed at the end of each.
fn records(mut text: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    while let Some(blank) = text.iter().position(|byte| *byte == b' ') {
        let length = text.get(..blank).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let Some((record, rest)) = length.and_then(|length: usize| text.split_at_checked(length)) else {
            break;
        };
        let record = record.get(blank + 1..).unwrap_or_default();
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(at) = record.iter().position(|byte| *byte == b'=') {
            found.push((&record[..at], &record[at + 1..]));
        }
        text = rest;
    }
    found
}

/// A path without what means nothing in it, and without the folders that it leaves again.
fn plain(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;
    use std::process::{Command, Stdio};

    fn lead(text: &str) -> String {
        format!("{text}LED\n")
    }

    fn passed(bytes: &[u8], names: &[&str]) -> (Passed, Vec<u8>) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        let passed = pass(&mut &*bytes, &mut out, &names, &lead).unwrap();
        (passed, out)
    }

    /// A tar of a folder with a Dockerfile, one deeper down and a large file, as `tar` makes it.
    fn tar(words: &[&str]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("{}/{}", "d".repeat(90), "e".repeat(80));
        std::fs::create_dir_all(dir.path().join(&long)).unwrap();
        for name in ["Dockerfile", "z", &format!("{long}/Dockerfile")] {
            std::fs::write(dir.path().join(name), format!("FROM {}\n", name.len())).unwrap();
        }
        let large: String = (0..50_000).fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "{n}");
            text
        });
        std::fs::write(dir.path().join("large"), large).unwrap();
        std::os::unix::fs::symlink("Dockerfile", dir.path().join("link")).unwrap();
        let mut made = Command::new("tar");
        made.args(["-c", "--sort=name", "-C"]).arg(dir.path()).args(words);
        made.arg(".").output().unwrap().stdout
    }

    /// What `tar` finds in a file of it.
    fn content(tar: &[u8], name: &str) -> String {
        let mut child = Command::new("tar")
            .args(["-xO", "-f", "-", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(tar));
            String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
        })
    }

    #[test]
    fn the_dockerfile_is_led_and_all_else_is_as_it_came() {
        let long = format!("{}/{}/Dockerfile", "d".repeat(90), "e".repeat(80));
        for format in ["--format=gnu", "--format=pax", "--format=ustar", "--format=posix"] {
            let bytes = tar(&[format]);
            for (asked, place) in
                [("Dockerfile", "./Dockerfile"), (&format!("./{long}"), &format!("./{long}"))]
            {
                let (outcome, led) = passed(&bytes, &[asked]);
                assert_eq!(outcome, Passed::Led, "{format} {asked}");
                for name in ["./Dockerfile", "./z", "./large", &format!("./{long}")] {
                    let expected = content(&bytes, name);
                    let expected = if name == place { lead(&expected) } else { expected };
                    assert_eq!(content(&led, name), expected, "{format} {asked} {name}");
                }
            }
            let (outcome, same) = passed(&bytes, &["Other"]);
            assert!(outcome == Passed::Without && same == bytes, "{format}");
        }
    }

    #[test]
    fn a_dockerfile_alone_is_led_and_what_is_compressed_is_not() {
        assert_eq!(passed(b"FROM a\n", &["Dockerfile"]), (Passed::Led, b"FROM a\nLED\n".to_vec()));
        let long = format!("FROM a\n{}", "# x\n".repeat(1000));
        assert_eq!(passed(long.as_bytes(), &[]), (Passed::Led, lead(&long).into_bytes()));
        let zipped = tar(&["-z"]);
        assert_eq!(passed(&zipped, &["Dockerfile"]), (Passed::Unread, zipped));
        for other in [&b""[..], b"\xff\xfe", &[0; 2048]] {
            assert_eq!(passed(other, &["Dockerfile"]).1, other);
        }
    }

    #[test]
    fn a_sparse_file_passes() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("a")).unwrap();
        // Many pieces, so that their list goes on behind the header.
        for n in 0..40_u64 {
            std::os::unix::fs::FileExt::write_all_at(&file, b"data", n << 20).unwrap();
        }
        std::fs::write(dir.path().join("b"), "FROM a\n").unwrap();
        let mut made = Command::new("tar");
        made.args(["-c", "-S", "--format=gnu", "--sort=name", "-C"]).arg(dir.path()).arg(".");
        let (outcome, led) = passed(&made.output().unwrap().stdout, &["b"]);
        assert_eq!((outcome, content(&led, "./b").as_str()), (Passed::Led, "FROM a\nLED\n"));
        assert_eq!(content(&led, "./a").len(), (39 << 20) + 4);
    }

    #[test]
    fn what_is_cut_off_passes_as_it_came() {
        let bytes = tar(&["--format=pax"]);
        for size in [600, 1024, 1100, bytes.len() / 2, bytes.len() - 700] {
            let cut = &bytes[..size];
            assert_eq!(passed(cut, &["Other"]).1, cut, "{size}");
        }
        // Of a Dockerfile that is not whole, nothing is led.
        let own = tar(&["--format=ustar", "--exclude=d*"]);
        let at = own.windows(12).position(|it| it == b"./Dockerfile").unwrap();
        let cut = &own[..at + BLOCK + 5];
        assert_eq!(passed(cut, &["Dockerfile"]), (Passed::Without, cut.to_vec()));
    }

    #[test]
    fn a_folder_that_a_name_leaves_again_does_not_count() {
        for name in ["./a/../Dockerfile", ".larder-nowhere/..//Dockerfile", "/Dockerfile", "Dockerfile"] {
            assert_eq!(passed(&tar(&[]), &[name]).0, Passed::Led, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_ends(bytes in proptest::collection::vec(0_u8.., 0..3000), at in 0..600_usize, to in 0_u8..) {
            let mut tar = tar(&[]);
            tar[at] = to;
            let mut out = Vec::new();
            for bytes in [&bytes, &tar] {
                let _ = pass(&mut bytes.as_slice(), &mut out, &["Dockerfile".to_owned()], &lead);
            }
        }
    }
}
