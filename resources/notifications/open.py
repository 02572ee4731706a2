"""Opens the notification targets that the settings name."""

from resources.config.sections import AlertSettings
from resources.notifications.apprise_target import AppriseTarget
from resources.notifications.base import Target
from resources.notifications.webhook import Webhook


def open_targets(alerts: AlertSettings) -> list[Target]:
    """Return the webhook and one target for each Apprise URL; nothing is sent yet."""
    allow_private = alerts.allow_private_addresses
    webhooks = [Webhook(alerts.webhook_url, allow_private=allow_private)] if alerts.webhook_url else []
    services = [
        AppriseTarget(url, number, allow_private=allow_private) for number, url in enumerate(alerts.urls)
    ]
    return [*webhooks, *services]
