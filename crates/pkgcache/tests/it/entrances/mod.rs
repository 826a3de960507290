//! How clients come in, and what they bring along.

mod credential_clients;
mod credentials;
mod doors;
mod led_clients;
mod one_object;
mod sockets;
