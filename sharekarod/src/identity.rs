//! Our key and certificate.
