"""An entry in the context menu of Nautilus: sends what is selected to a machine of this network.

Nautilus loads it where python3-nautilus is installed. To whom, `sharectl send --ask` asks in a window; nothing is
decided here.
"""

from gi.repository import GLib, GObject, Nautilus


class ShareKaro(GObject.GObject, Nautilus.MenuProvider):
    def get_file_items(self, *arguments):
        files = arguments[-1]  # Nautilus before 43 gives the window first
        paths = [file.get_location().get_path() for file in files]
        if not paths or None in paths:  # what lies on another machine already has no path here
            return []
        item = Nautilus.MenuItem(
            name="ShareKaro::send",
            label="Send with ShareKaro…",
            tip="Send to another machine of this network",
            icon="org.sharekaro.ShareKaro",
        )
        item.connect("activate", send, paths)
        return [item]

    def get_background_items(self, *arguments):
        return []


def send(_item, paths):
    argv = ["sharectl", "send", "--ask", "--", *paths]
    # without DO_NOT_REAP_CHILD: GLib forks twice, and nobody has to wait for it
    GLib.spawn_async(argv=argv, flags=GLib.SpawnFlags.SEARCH_PATH)
