//! How the process that serves a store is lent addresses: other commands listen at them, and want
//! what comes in there to be on record by itself. So no fetch is made twice, whichever command
//! asks first.
//!
//! An abstract socket whose name is in `packages/server.toml`. A command passes its listening
//! socket over (`SCM_RIGHTS`) and is told `ok`. When it sends anything more, or closes its side, or
//! the server ends, it gets what came in, as a [`Record`] in JSON. One that passes nothing over but
//! the byte `n` is told in the same way what the server could not serve meanwhile, as
//! [`NotServed`]. Only processes of the same user are heard.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, SocketAddr};
use std::time::Duration;

use pkgcache::{Control, NotServed, Record};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What the server answers when it listens there.
const TAKEN: &[u8; 3] = b"ok\n";
/// What is sent along with a socket: something has to be.
const LENT: &[u8; 1] = b"l";
/// What is sent by one that lends nothing.
const LISTENS: &[u8; 1] = b"n";
/// The server answers within this time.
const SOON: Duration = Duration::from_secs(2);
/// What was begun has this time to be stored.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same where the server ends.
const BRIEF: Duration = Duration::from_secs(1);
/// No record is larger: 64 MiB.
const CAP: u64 = 64 << 20;

/// The socket of the process that serves.
#[derive(Debug)]
pub(crate) struct Lobby {
    name: String,
    listener: unix::UnixListener,
}

impl Lobby {
    /// Under a name that nobody can guess.
    pub(crate) fn open() -> io::Result<Self> {
        let mut random = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let name = format!("larder-pkgcache-{:032x}", u128::from_ne_bytes(random));
        let listener = unix::UnixListener::bind_addr(&address(&name)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self { name, listener })
    }

    /// Its name, for the store's note.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes what it is lent until the server stops, and tells what came in there.
    pub(crate) async fn serve(self, control: Control) {
        let Ok(listener) = UnixListener::from_std(self.listener) else { return };
        let mut guests = JoinSet::new();
        loop {
            tokio::select! {
                () = control.stopped() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(guests.spawn(host(stream, control.clone()))),
                    // Most likely there are no file descriptors left: a guest has to end.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                Some(_) = guests.join_next() => {}
            }
        }
        drop(listener);
        while guests.join_next().await.is_some() {}
    }
}

fn address(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

/// One command, from its socket to its record. A command that is gone is told nothing.
async fn host(mut stream: UnixStream, control: Control) {
    let ours = rustix::process::getuid().as_raw();
    if !stream.peer_cred().is_ok_and(|peer| peer.uid() == ours) {
        return;
    }
    let Ok(Ok(lent)) = timeout(SOON, received(&stream)).await else { return };
    let Some(listener) = lent else { return tell(stream, control).await };
    let Ok(entrance) = control.entrance(listener) else { return };
    if stream.write_all(TAKEN).await.is_err() {
        return;
    }
    let mut more = [0];
    let patience = tokio::select! {
        _ = stream.read(&mut more) => PATIENCE,
        // The process is about to end.
        () = entrance.ended() => BRIEF,
    };
    let record = entrance.close(patience).await;
    let text = serde_json::to_vec(&record).unwrap_or_default();
    let _ = stream.write_all(&text).await;
    let _ = stream.shutdown().await;
}

/// What the server could not serve while the command ran.
async fn tell(mut stream: UnixStream, control: Control) {
    let before = control.not_served_count();
    if stream.write_all(TAKEN).await.is_err() {
        return;
    }
    let mut more = [0];
    tokio::select! {
        _ = stream.read(&mut more) => {}
        () = control.stopped() => {}
    }
    let text = serde_json::to_vec(&control.not_served_since(before)).unwrap_or_default();
    let _ = stream.write_all(&text).await;
    let _ = stream.shutdown().await;
}

/// The address that is lent; `None` from one that lends nothing.
async fn received(stream: &UnixStream) -> io::Result<Option<TcpListener>> {
    loop {
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || receive(stream.as_fd())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return Ok(received?.map(TcpListener::from)),
        }
    }
}

/// The socket that was passed over; `None` from one that lends nothing.
fn receive(from: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut passed = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    // A program that is started here must not hold it.
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut passed, flags)?;
    let mut sockets = passed.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let socket = sockets.next().and_then(|mut sockets| sockets.next());
    if socket.is_none() && byte != *LISTENS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no socket was passed over"));
    }
    Ok(socket)
}

/// An address that the process that serves has been lent.
#[derive(Debug)]
pub(crate) struct Loan {
    stream: UnixStream,
    said: Vec<u8>,
}

/// A word with the process that serves: what it cannot serve from now on.
#[derive(Debug)]
pub(crate) struct Ear(UnixStream);

impl Ear {
    /// From now on.
    ///
    /// # Errors
    /// Nobody is there, or it is of an earlier version.
    pub(crate) async fn open(lobby: &str) -> io::Result<Self> {
        let stream = unix::UnixStream::connect_addr(&address(lobby)?)?;
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream)?;
        stream.write_all(LISTENS).await?;
        taken(&mut stream).await?;
        Ok(Self(stream))
    }

    /// What there was, if that is told within the time.
    pub(crate) async fn told(self, patience: Duration) -> NotServed {
        let Self(mut stream) = self;
        // One that has ended has told already.
        let _ = stream.write_all(LISTENS).await;
        let mut said = Vec::new();
        let mut capped = stream.take(CAP);
        let _ = timeout(patience, capped.read_to_end(&mut said)).await;
        serde_json::from_slice(&said).unwrap_or_default()
    }
}

async fn taken(stream: &mut UnixStream) -> io::Result<()> {
    let mut answer = [0; TAKEN.len()];
    timeout(SOON, stream.read_exact(&mut answer)).await??;
    if answer == *TAKEN {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "another answer than ours"))
}

impl Loan {
    /// Lends it.
    ///
    /// # Errors
    /// Nobody is there, or does not take it.
    pub(crate) async fn give(listener: &TcpListener, lobby: &str) -> io::Result<Self> {
        let stream = unix::UnixStream::connect_addr(&address(lobby)?)?;
        pass(stream.as_fd(), listener.as_fd())?;
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream)?;
        taken(&mut stream).await?;
        Ok(Self { stream, said: Vec::new() })
    }

    /// Waits until the server ends by itself, with what came in until then.
    pub(crate) async fn ended(&mut self) -> Record {
        // Nothing that was read is lost where this is not waited for to its end.
        while (self.said.len() as u64) < CAP {
            if !matches!(self.stream.read_buf(&mut self.said).await, Ok(1..)) {
                break;
            }
        }
        serde_json::from_slice(&self.said).unwrap_or_else(|_| Record::lost())
    }

    /// Takes it back. What came in, if that is told within the time.
    pub(crate) async fn take_back(mut self, patience: Duration) -> Record {
        let _ = self.stream.write_all(LENT).await;
        timeout(patience, self.ended()).await.unwrap_or_else(|_| Record::lost())
    }
}

fn pass(to: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut passed = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket];
    if !passed.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("there is no room for a socket"));
    }
    sendmsg(to, &[IoSlice::new(LENT)], &mut passed, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_passed_over() {
        let lent = TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        pass(one.as_fd(), lent.as_fd()).unwrap();
        let taken = received(&other).await.unwrap().unwrap();
        assert_eq!(taken.local_addr().unwrap(), lent.local_addr().unwrap());
        one.writable().await.unwrap();
        one.try_write(LISTENS).unwrap();
        assert!(received(&other).await.unwrap().is_none());
        // What is no socket at all leads to an error, and to nothing else.
        one.writable().await.unwrap();
        one.try_write(b"x").unwrap();
        assert!(received(&other).await.is_err());
    }

    #[tokio::test]
    async fn nobody_takes_what_is_lent_to_no_one() {
        let lent = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Loan::give(&lent, "larder-pkgcache-nobody").await.is_err());
    }
}
