"""TLS of the listening socket: certificates that may be replaced while connections are open."""

import logging
import ssl

from app.run.certificate_end import certificate_end
from app.run.watched_files import WatchedFiles
from app.settings.plan import TlsFiles

log = logging.getLogger(__name__)


def context_of(files: TlsFiles) -> ssl.SSLContext:
    """Raises ssl.SSLError, OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    if files.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.client_ca)
    return context


class ReloadedTls:
    """The server uses `context` permanently; each handshake uses the newest certificates.

    Open connections are not affected. end_s: when the newest certificate expires, seconds since the epoch.
    """

    def __init__(self, files: TlsFiles) -> None:
        """Raises ssl.SSLError, OSError."""
        self._files = files
        self._watched = WatchedFiles([files.certificate, files.key, files.client_ca])
        self._newest = context_of(files)
        self.end_s = self._end()
        self.context = context_of(files)
        self.context.sni_callback = self._take_newest

    def reload_if_changed(self) -> None:
        """Must be called periodically. Blocks on the disk. Unusable files are logged, and change nothing."""
        if self._watched.changed():
            self.reload()

    def reload(self) -> None:
        try:
            self._newest = context_of(self._files)
            self.end_s = self._end()
        except (ssl.SSLError, OSError) as error:
            log.error("the certificate was not reloaded, the old one stays in use: %s", error)
        else:
            log.info("the certificate was reloaded from %s", self._files.certificate)

    def _end(self) -> float:
        """When the certificate expires, seconds since the epoch; 0 if that cannot be read."""
        try:
            return certificate_end(self._files.certificate.read_text("ascii", "replace"))
        except (ValueError, OSError) as error:
            log.warning("%s: its expiry date cannot be read: %s", self._files.certificate, error)
            return 0.0

    def _take_newest(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called in each handshake, even if the client sends no host name."""
        connection.context = self._newest
