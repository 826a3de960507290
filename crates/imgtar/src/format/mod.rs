//! What bytes and names mean: OCI documents, image names, references, compression, tar. Touches no
//! store.

pub mod compression;
pub mod entry_path;
pub mod image_name;
pub mod oci;
pub mod reference;
pub(crate) mod tar_check;
pub(crate) mod tar_writer;
