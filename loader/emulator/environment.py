"""What a client needs to know to speak to an emulator, as text for a shell."""

from __future__ import annotations

from loader.emulator.plan import Plan


def exports(plan: Plan, base_url: str) -> list[str]:
    """Say in shell what the client's environment needs. The values are the plan's own, no real credentials."""
    app = plan.canbus.apps[0]
    values = {
        "OZARI_BASE_URL": base_url,
        "OZARI_TOKEN": plan.ozari.token,
        "CANBUS_BASE_URL": base_url,
        "CANBUS_TENANT_ID": plan.canbus.tenant_id,
        "CANBUS_APP_ID": app.app_id,
        "CANBUS_API_KEY": app.api_key,
        "CANBUS_API_SECRET": app.api_secret,
    }
    return [f"export {name}={value}" for name, value in values.items()]


def users(plan: Plan) -> str:
    """Say whom Canbus lets create records: of all that a first load needs, the one thing that is no credential."""
    users = plan.canbus.users
    names = "whoever is named" if plan.canbus.any_user else ", ".join(users) or "none"
    return f"users of Canbus: {names}" + (f"; as in: loader canbus add FILE --user {users[0]}" if users else "")
