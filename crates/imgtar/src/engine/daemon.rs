//! Docker's daemon behind a unix socket of this machine, asked without its command: each start of
//! that costs more than most answers, and it copies every byte of an archive once more.
//!
//! Deliberately absent: pushes, since the credentials for them are the command's; daemons
//! elsewhere.
//!
//! Source: Docker Engine API v1.41, which all later versions have these paths of.

use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::process::telling;
use super::{Seen, Storage};
use crate::engine::http1::{self, Chunked, Framing, IncomingBody, bad, escaped};
use crate::format::image_name;

/// No answer but an archive is longer: docker says a thousand bytes of an image.
const CAP: u64 = 256 << 20;
/// So much is read of a refusal.
const SAID: u64 = 64 << 10;

/// A daemon that answers.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    socket: Utf8PathBuf,
    /// The version of its interface.
    version: String,
}

/// Why it did not do what it was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: String,
    pub(super) said: String,
}

type Told<T> = Result<T, Refusal>;

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { status: "no answer".to_owned(), said: error.to_string() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    driver: String,
    driver_status: Option<Vec<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    os: String,
    arch: String,
}

impl Daemon {
    /// The docker that answers there. `None` where none does, or where it is podman that stands in
    /// for it.
    pub(super) fn at(socket: &Utf8Path) -> Option<Self> {
        let mut this = Self { socket: socket.to_owned(), version: String::new() };
        let answer = this.send("GET", "/_ping").ok()?;
        let podman = answer.fields.iter().any(|(name, _)| name == "libpod-api-version");
        let version = answer.fields.iter().find(|(name, _)| name == "api-version")?;
        let is_version = version.1.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if answer.status != 200 || podman || !is_version {
            return None;
        }
        this.version = format!("/v{}", version.1);
        Some(this)
    }

    /// Those of these images, by ID or by name, that it has.
    pub(super) fn look(&self, wanted: &[String]) -> Told<Vec<Seen>> {
        let look = |name: &String| self.get(&format!("/images/{}/json", escaped(name, "/:@"))).transpose();
        wanted.iter().filter_map(look).collect()
    }

    /// The IDs of all images, or of those of one name.
    pub(super) fn ids(&self, name: Option<&str>) -> Told<Vec<String>> {
        let query = match name {
            Some(name) => {
                let filters = serde_json::json!({ "reference": [name] });
                format!("filters={}", escaped(&filters.to_string(), ""))
            }
            None => "all=1".to_owned(),
        };
        // Go writes `null` for an empty list.
        let listed = self.get::<Option<Vec<Listed>>>(&format!("/images/json?{query}"))?;
        let listed = listed.flatten().unwrap_or_default();
        Ok(listed.into_iter().map(|image| image.id).collect())
    }

    /// How it keeps images.
    pub(super) fn storage(&self) -> Told<Storage> {
        let info: Option<Info> = self.get("/info")?;
        Ok(info.map_or(Storage::Unknown, |info| {
            Storage::of(&info.driver, &info.driver_status.unwrap_or_default())
        }))
    }

    /// The operating system and the architecture of its machine.
    pub(super) fn platform(&self) -> Told<String> {
        let version: Option<Version> = self.get("/version")?;
        Ok(version.map(|Version { os, arch }| format!("{os}/{arch}")).unwrap_or_default())
    }

    /// Gives an image a name.
    pub(super) fn tag(&self, id: &str, name: &str) -> Told<()> {
        let (name, tag) = image_name::split(name);
        let (name, tag) = (escaped(name, ""), escaped(tag.unwrap_or_default(), ""));
        let path = format!("/images/{}/tag?repo={name}&tag={tag}", escaped(id, "/:@"));
        self.call("POST", &path)?.done()
    }

    /// Takes a name away from an image.
    pub(super) fn untag(&self, name: &str) -> Told<()> {
        self.call("DELETE", &format!("/images/{}?noprune=1", escaped(name, "/:@")))?.done()
    }

    /// An image's archive.
    pub(super) fn save(&self, image: &str) -> Told<Incoming> {
        Ok(self.call("GET", &format!("/images/get?names={}", escaped(image, "")))?.sound()?.body)
    }

    /// Starts to load an archive.
    pub(super) fn load(&self) -> Told<Upload> {
        let path = format!("{}/images/load?quiet=1", self.version);
        let mut stream = UnixStream::connect(&self.socket)?;
        write_head(
            &mut stream,
            "POST",
            &path,
            "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n",
        )?;
        Ok(Upload { output: Chunked::new(stream.try_clone()?), input: stream })
    }

    /// What it answers; `None` for 404.
    fn get<T: DeserializeOwned>(&self, path: &str) -> Told<Option<T>> {
        let answer = self.call("GET", path)?;
        if answer.status == 404 {
            return Ok(None);
        }
        let bytes = answer.sound()?.read()?;
        let answer = serde_json::from_slice(&bytes).map_err(|_| bad("docker's answer was not understood"))?;
        Ok(Some(answer))
    }

    fn call(&self, method: &str, path: &str) -> io::Result<DaemonAnswer> {
        self.send(method, &format!("{}{path}", self.version))
    }

    fn send(&self, method: &str, path: &str) -> io::Result<DaemonAnswer> {
        let mut stream = UnixStream::connect(&self.socket)?;
        write_head(&mut stream, method, path, "Content-Length: 0\r\n")?;
        DaemonAnswer::read_from(stream)
    }
}

fn write_head(stream: &mut UnixStream, method: &str, path: &str, fields: &str) -> io::Result<()> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes())
}

/// A body that comes from the daemon.
pub(super) type Incoming = IncomingBody<BufReader<UnixStream>>;

/// An answer, its body not read yet.
struct DaemonAnswer {
    status: u16,
    line: String,
    fields: Vec<(String, String)>,
    body: Incoming,
}

impl DaemonAnswer {
    fn read_from(stream: UnixStream) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(256 << 10, stream);
        let mut head = (&mut input).take(http1::HEAD);
        let line =
            http1::read_line(&mut head)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let said = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once(' ')).map(|(_, said)| said);
        let status = said.and_then(|said| said.get(..3)?.parse().ok());
        let (Some(said), Some(status)) = (said, status) else { return Err(bad("no status line")) };
        let line = said.to_owned();
        let mut fields = Vec::new();
        let framing =
            http1::read_fields(&mut head, |name, value| fields.push((name.to_owned(), value.to_owned())))?;
        let body = IncomingBody::new(input, framing.unwrap_or(Framing::Close));
        Ok(Self { status, line, fields, body })
    }

    /// The answer, where it says yes.
    fn sound(self) -> Told<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let status = telling(self.line.as_bytes());
        let (said, _) = self.read_what_comes(SAID);
        Err(Refusal { status, said: message(&said).unwrap_or_default() })
    }

    /// Waits until it is done.
    fn done(self) -> Told<()> {
        self.sound()?.read().map(drop)
    }

    fn read(self) -> Told<Vec<u8>> {
        let (bytes, ended) = self.read_what_comes(CAP);
        ended?;
        Ok(bytes)
    }

    /// What comes of the body, a little more than the cap at most, and how it ended.
    fn read_what_comes(self, cap: u64) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let ended = self.body.take(cap + 1).read_to_end(&mut bytes).map(drop);
        let is_long = bytes.len() as u64 > cap;
        (bytes, if is_long { Err(bad("its answer is too long")) } else { ended })
    }
}

/// The words of a refusal: a document, or the line of a report that tells what went wrong.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        message: Option<String>,
        error: Option<String>,
    }
    let lines = serde_json::Deserializer::from_slice(body).into_iter::<Line>().map_while(Result::ok);
    let said = lines.filter_map(|line| line.error.or(line.message)).last()?;
    Some(telling(said.as_bytes()))
}

/// An archive on its way to the daemon.
#[derive(Debug)]
pub(super) struct Upload {
    output: Chunked<UnixStream>,
    input: UnixStream,
}

impl Upload {
    /// Ends the archive, and waits until it is taken.
    pub(super) fn finish(mut self) -> Told<()> {
        // Where it does not read to the end, its answer tells why.
        let ended = self.output.finish();
        self.answer()?;
        Ok(ended?)
    }

    /// What it answers to an archive that it stopped to read.
    pub(super) fn answer(self) -> Told<()> {
        let answer = DaemonAnswer::read_from(self.input)?;
        // A load mostly fails after the head of its answer has gone out, and says so in the body. A
        // daemon that reads no more may reset the connection after its word.
        let (body, ended) = answer.sound()?.read_what_comes(CAP);
        match message(&body) {
            Some(said) => Err(Refusal { status: "it stopped".to_owned(), said }),
            None => Ok(ended?),
        }
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
