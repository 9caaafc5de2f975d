//! An interface behind the gate: every method and every property asks it first.
//!
//! `zbus::object_server::Interface` is written by zbus's macro elsewhere; here one is wrapped by hand, so that no method
//! can be added that forgets to ask. Introspection alone is open: it says what anybody can read in the XML file.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use zbus::{
    BoxDBusError, Connection, Message, ObjectServer, OwnedVariant, Signature, Variant,
    export::async_trait::async_trait,
    fdo,
    message::Header,
    names::{InterfaceName, MemberName},
    object_server::{DispatchResult, Interface, SignalEmitter},
};

use super::gate::{Deed, Gate};

/// What a call costs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// A few properties, or a request to the engine.
    Small,
    /// Every property of every object.
    Listing,
}

/// Methods that only tell; every other one has something done.
const TELLING: [&str; 6] = ["FindPeer", "GetManagedObjects", "List", "ListPaths", "ListSkipped", "Search"];

/// What a method does, for who decides about it.
fn deed(method: &MemberName<'_>) -> Deed {
    if TELLING.contains(&method.as_str()) { Deed::Look } else { Deed::Act }
}

/// An interface that only those may use whom the gate lets in.
pub(super) struct Gated<I> {
    inner: I,
    gate: Arc<Gate>,
    cost: Cost,
}

impl<I> Gated<I> {
    /// Puts `inner` behind the gate.
    pub(super) fn new(inner: I, gate: &Arc<Gate>, cost: Cost) -> Self {
        Self { inner, gate: Arc::clone(gate), cost }
    }
}

impl<I: Interface> Gated<I> {
    /// Whether a method has no arguments, as the introspection says.
    fn takes_nothing(&self, method: &MemberName<'_>) -> bool {
        let mut xml = String::new();
        self.inner.introspect_to_writer(&mut xml, 0);
        let described = xml.split_once(&format!("<method name=\"{method}\">")).and_then(|(_, rest)| rest.split_once("</method>"));
        described.is_some_and(|(arguments, _)| !arguments.contains("direction=\"in\""))
    }
}

#[async_trait]
impl<I: Interface> Interface for Gated<I> {
    fn name() -> InterfaceName<'static> {
        I::name()
    }

    async fn get(
        &self,
        property: &str,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<Result<OwnedVariant, BoxDBusError>> {
        let _pass = match header {
            Some(header) => match self.gate.enter(header, 0, Deed::Look).await {
                Ok(pass) => Some(pass),
                Err(e) => return Some(Err(e.into())),
            },
            None => None, // zbus itself asks, for a signal
        };
        self.inner.get(property, server, connection, header, emitter).await
    }

    async fn get_all(
        &self,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> fdo::Result<HashMap<String, OwnedVariant>> {
        let _pass = match header {
            Some(header) => Some(self.gate.enter(header, 0, Deed::Look).await?),
            None => None, // zbus itself asks, for a signal or for a listing that was let in
        };
        self.inner.get_all(server, connection, header, emitter).await
    }

    fn set<'call>(
        &'call self,
        property: &'call str,
        value: &'call Variant<'_>,
        server: &'call ObjectServer,
        connection: &'call Connection,
        header: Option<&'call Header<'_>>,
        emitter: &'call SignalEmitter<'_>,
    ) -> DispatchResult<'call> {
        match self.inner.set(property, value, server, connection, header, emitter) {
            DispatchResult::Async(work) => DispatchResult::Async(Box::pin(async move {
                let header = header.ok_or_else(|| fdo::Error::AccessDenied("nobody calls".to_owned()))?;
                let _pass = self.gate.enter(header, 0, Deed::Act).await?;
                work.await
            })),
            DispatchResult::NotFound => DispatchResult::NotFound,
            // no setter of ours needs `&mut self`: what asks for it has none
            DispatchResult::RequiresMut => {
                DispatchResult::Async(Box::pin(
                    async move { Err(fdo::Error::PropertyReadOnly(format!("{property} cannot be set")).into()) },
                ))
            }
        }
    }

    async fn set_mut(
        &mut self,
        _: &str,
        _: &Variant<'_>,
        _: &ObjectServer,
        _: &Connection,
        _: Option<&Header<'_>>,
        _: &SignalEmitter<'_>,
    ) -> Option<Result<(), BoxDBusError>> {
        None
    }

    fn call<'call>(
        &'call self,
        server: &'call ObjectServer,
        connection: &'call Connection,
        message: &'call Message,
        name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        let deed = deed(&name);
        match self.inner.call(server, connection, message, name.clone()) {
            DispatchResult::Async(work) => DispatchResult::Async(Box::pin(async move {
                let _pass = self.gate.enter(&message.header(), message.data().len(), deed).await?;
                // zbus looks at the arguments of methods that have some
                if message.header().signature() != &Signature::Unit && self.takes_nothing(&name) {
                    return Err(fdo::Error::InvalidArgs(format!("{name} takes no arguments")).into());
                }
                let _turn = if self.cost == Cost::Listing { self.gate.listing().await } else { None };
                work.await
            })),
            DispatchResult::NotFound | DispatchResult::RequiresMut => DispatchResult::NotFound,
        }
    }

    fn call_mut<'call>(
        &'call mut self,
        _: &'call ObjectServer,
        _: &'call Connection,
        _: &'call Message,
        _: MemberName<'call>,
    ) -> DispatchResult<'call> {
        DispatchResult::NotFound
    }

    fn introspect_to_writer(&self, writer: &mut dyn Write, level: usize) {
        self.inner.introspect_to_writer(writer, level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tells_are_methods_that_there_are() {
        let xml = include_str!("../../../dbus/org.sharekaro.ShareKaro1.xml");

        for method in TELLING.into_iter().filter(|method| *method != "GetManagedObjects") {
            assert!(xml.contains(&format!("<method name=\"{method}\">")), "{method}");
        }
        assert_eq!(deed(&MemberName::from_static_str_unchecked("Send")), Deed::Act);
    }
}
