//! They notice and call the engine like any frontend.
