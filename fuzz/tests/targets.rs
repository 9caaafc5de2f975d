//! Every target under fire for some seconds, as a test. `SHAREKARO_FUZZ_SECONDS=3600` makes it an hour each.

#![allow(missing_docs, reason = "the names of tests are sentences")]

use sharekaro_fuzz::{fire, targets};

#[test]
fn any_bytes_are_a_frame_or_an_error() {
    fire("wire_frame", targets::wire_frame);
}

#[test]
fn any_bytes_are_a_request_or_an_error() {
    fire("control_request", targets::control_request);
}

#[test]
fn any_bytes_are_one_component_of_a_path_or_an_error() {
    fire("file_name", targets::file_name);
}

#[test]
fn any_bytes_are_a_capture_or_an_error() {
    fire("capture_file", targets::capture_file);
}

#[test]
fn any_frame_of_a_lan_is_harmless() {
    fire("lan_frame", targets::lan_frame);
}

#[test]
fn any_text_is_a_filter_or_an_error() {
    fire("packet_filter", targets::packet_filter);
}

#[test]
fn any_text_is_a_recording_or_an_error() {
    fire("recording", targets::recording);
}
