//! What stands below the root: the standard `ObjectManager`, which lists it, and its signals.
//!
//! zbus has one of its own, which tells the whole bus what comes and goes with all its properties; on the bus of the
//! system that would be every user. Here each signal goes to the audience.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use zbus::{
    Connection, ObjectPath, OwnedObjectPath, OwnedVariant, Variant, fdo, interface,
    names::{InterfaceName, OwnedInterfaceName},
    object_server::{Interface, SignalEmitter},
};

type Objects = HashMap<OwnedObjectPath, HashMap<OwnedInterfaceName, HashMap<String, OwnedVariant>>>;

/// Every object that stands, with its one interface; a cheap handle.
#[derive(Clone, Default)]
pub(super) struct Standing(Arc<Mutex<HashMap<OwnedObjectPath, Object>>>);

#[derive(Clone)]
struct Object {
    interface: InterfaceName<'static>,
    properties: Arc<dyn Interface>,
}

impl Standing {
    /// From now on it is listed.
    pub(super) fn add<I: Interface>(&self, path: OwnedObjectPath, object: I) {
        self.objects().insert(path, Object { interface: I::name(), properties: Arc::new(object) });
    }

    /// It is not listed any more.
    pub(super) fn remove(&self, path: &OwnedObjectPath) {
        self.objects().remove(path);
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<OwnedObjectPath, Object>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[interface(name = "org.freedesktop.DBus.ObjectManager")]
impl Standing {
    #[zbus(out_args("objpath_interfaces_and_properties"))]
    async fn get_managed_objects(&self, #[zbus(connection)] connection: &Connection) -> fdo::Result<Objects> {
        let objects = self.objects().clone();
        let mut listed = Objects::with_capacity(objects.len());
        for (path, object) in objects {
            let emitter = SignalEmitter::new(connection, path.clone())?;
            let properties = object.properties.get_all(connection.object_server(), connection, None, &emitter).await?;
            listed.insert(path, HashMap::from([(object.interface.into(), properties)]));
        }
        Ok(listed)
    }

    #[zbus(signal)]
    pub(super) async fn interfaces_added(
        emitter: &SignalEmitter<'_>,
        object_path: ObjectPath<'_>,
        interfaces_and_properties: HashMap<InterfaceName<'_>, HashMap<&str, Variant<'_>>>,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn interfaces_removed(
        emitter: &SignalEmitter<'_>,
        object_path: ObjectPath<'_>,
        interfaces: Vec<InterfaceName<'_>>,
    ) -> zbus::Result<()>;
}
