//! A client's connection: TCP, or a Unix socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// The bytes of either.
#[derive(Debug)]
pub(crate) enum Stream {
    /// A connection over the network, or over loopback.
    Net(TcpStream),
    /// One at a socket in the file system.
    Unix(UnixStream),
}

/// The same call on whichever it is.
macro_rules! on {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Stream::Net($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl Stream {
    /// Sends small pieces at once.
    pub(crate) fn set_nodelay(&self) {
        if let Self::Net(stream) = self {
            // Fails only for a connection that is broken already.
            let _ = stream.set_nodelay(true);
        }
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_read_ready(cx))
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_write_ready(cx))
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        on!(self, stream => stream.try_read(buffer))
    }

    pub(super) fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        on!(self, stream => stream.try_read_buf(buffer))
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        on!(self, stream => stream.try_write(bytes))
    }

    pub(super) fn try_write_vectored(&self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        on!(self, stream => stream.try_write_vectored(bytes))
    }

    pub(super) fn try_io<R>(
        &self,
        interest: Interest,
        call: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        on!(self, stream => stream.try_io(interest, call))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        on!(self, stream => stream.as_fd())
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Net(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}
