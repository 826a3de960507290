//! Where connections come from: addresses, and sockets in the file system.
//!
//! A socket in the file system that another process left behind is replaced; one at which a process
//! answers is not. It is taken away at the end, unless another one stands in its place by then.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicU64, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FlockOperation, Mode, OFlags};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::Listen;
use crate::error::{Error, Result};
use crate::wire::peer::Peer;
use crate::wire::stream::Stream;

/// A socket on which connections come.
#[derive(Debug)]
pub(crate) enum Listener {
    /// An address.
    Net(TcpListener),
    /// A socket in the file system.
    Unix {
        listener: UnixListener,
        /// Where it stands, if it is ours to take away.
        _placed: Option<Placed>,
    },
}

/// A socket that the process was given, as by systemd.
#[derive(Debug)]
pub enum Inherited {
    /// An address.
    Net(std::net::TcpListener),
    /// A socket in the file system, or an abstract one.
    Unix(std::os::unix::net::UnixListener),
}

/// A socket that was made here, as long as it is used.
#[derive(Debug)]
pub(crate) struct Placed {
    path: Utf8PathBuf,
    /// The file system and the number of its file.
    file: (u64, u64),
}

impl Drop for Placed {
    fn drop(&mut self) {
        if file_at(&self.path).is_ok_and(|file| file == self.file) {
            // What stays is replaced by the next one that listens there.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file_at(path: &Utf8Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Listener {
    /// Listens there; a socket in the file system gets this mode.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub(crate) async fn bind(listen: &Listen, mode: Option<u32>) -> Result<Self> {
        let bound = match listen {
            Listen::Net(address) => TcpListener::bind(address).await.map(Self::Net),
            Listen::Unix(path) => socket(path, mode).await,
        };
        bound.map_err(|source| Error::Listen { address: listen.to_string(), source })
    }

    /// Takes over a socket that the process was given.
    ///
    /// # Errors
    /// [`Error::System`] for one that cannot be used.
    pub(crate) fn inherited(given: Inherited) -> Result<Self> {
        let taken = match given {
            Inherited::Net(listener) => {
                listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener).map(Self::Net))
            }
            Inherited::Unix(listener) => listener
                .set_nonblocking(true)
                .and_then(|()| UnixListener::from_std(listener))
                .map(|listener| Self::Unix { listener, _placed: None }),
        };
        taken.map_err(|source| Error::System { doing: "use a socket that the process was given", source })
    }

    /// The address and port, where it has them.
    pub(crate) fn net(&self) -> Option<io::Result<SocketAddr>> {
        match self {
            Self::Net(listener) => Some(listener.local_addr()),
            Self::Unix { .. } => None,
        }
    }

    /// How it is named to people: a URL, or `unix:PATH`.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Net(listener) => {
                listener.local_addr().map_or_else(|_| String::new(), |address| format!("http://{address}"))
            }
            Self::Unix { listener, .. } => {
                let path = listener.local_addr().ok().and_then(|it| it.as_pathname().map(ToOwned::to_owned));
                format!("unix:{}", path.unwrap_or_default().display())
            }
        }
    }

    /// Waits for a connection.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Net(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((stream.into(), Peer::Net(address)))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let peer = user(&stream);
                Ok((stream.into(), peer))
            }
        }
    }
}

/// How many clients have come to Unix sockets.
static CAME: AtomicU64 = AtomicU64::new(0);

/// The client at a Unix socket. The kernel does not tell of one that is gone already.
fn user(stream: &UnixStream) -> Peer {
    let user = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
    Peer::Unix { user, number: CAME.fetch_add(1, Ordering::Relaxed) }
}

/// Makes the socket, in the place of one at which nobody answers.
async fn socket(path: &Utf8Path, mode: Option<u32>) -> io::Result<Listener> {
    let folder = path.parent().filter(|folder| *folder != "").unwrap_or(Utf8Path::new("."));
    // Two that begin at once would take each other's socket for one that was left behind.
    let folder = rustix::fs::open(folder.as_std_path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::flock(&folder, FlockOperation::LockExclusive)?;
    clear(path).await?;
    let listener = UnixListener::bind(path)?;
    let placed = Placed { path: path.to_owned(), file: file_at(path)? };
    // By the umask it is for this user, or this group, alone: so nobody comes in before.
    let now = fs::symlink_metadata(path)?.permissions().mode() & 0o666;
    fs::set_permissions(path, fs::Permissions::from_mode(mode.unwrap_or(now)))?;
    Ok(Listener::Unix { listener, _placed: Some(placed) })
}

/// Takes away a socket at which nobody answers.
async fn clear(path: &Utf8Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else has that name"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bound(path: &Utf8Path) -> Result<Listener> {
        Listener::bind(&Listen::Unix(path.to_owned()), Some(0o660)).await
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_another_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let path = dir.join("a.sock");
        // As a process leaves it that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = bound(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(first.name(), format!("unix:{path}"));
        let error = bound(&path).await.unwrap_err().to_string();
        assert!(error.contains(path.as_str()), "{error}");
        drop(first);
        assert!(!path.exists(), "it is taken away at the end");
        fs::write(&path, "a file of somebody's").unwrap();
        assert!(bound(&path).await.is_err() && path.exists());
    }

    #[tokio::test]
    async fn a_socket_in_the_place_of_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let path = dir.join("a.sock");
        let first = bound(&path).await.unwrap();
        fs::rename(&path, dir.join("moved")).unwrap();
        let second = bound(&path).await.unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
