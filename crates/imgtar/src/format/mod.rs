//! What bytes and names mean: OCI documents, image names, references, compression, tar, the headers
//! of disk images.
//!
//! Deliberately absent: the store, the network; what makes an image of these parts.

pub mod compression;
pub mod disk_magic;
pub mod entry_path;
pub mod image_name;
pub mod oci;
pub mod qcow2;
pub(crate) mod tar_check;
pub(crate) mod tar_writer;
