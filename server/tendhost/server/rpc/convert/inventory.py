"""What is known of a host's software and hardware, from domain values to messages."""

from collections.abc import Iterable, Mapping
from typing import Any

from tendhost.server.domain.bounds import text
from tendhost.server.domain.inventory.compose import ComposeProject
from tendhost.server.domain.inventory.hardware import Interface, InventoryPart, Mount
from tendhost.server.domain.inventory.inventory import (
    Inventory,
    PendingPackage,
    Severity,
    SystemFacts,
    Withheld,
)
from tendhost.server.rpc.convert.common import duration, timestamp
from tendhost.server.rpc.convert.whole import ITEM_BYTES, whole
from tendhost.server.store.records import InventoryRecord
from tendhost.v1 import host_pb2

_WITHHELD: Mapping[Withheld, Any] = {
    Withheld.NO: host_pb2.WITHHELD_UNSPECIFIED,
    Withheld.HELD: host_pb2.WITHHELD_HELD,
    Withheld.KEPT_BACK: host_pb2.WITHHELD_KEPT_BACK,
    Withheld.PHASED: host_pb2.WITHHELD_PHASED,
    Withheld.EXCLUDED: host_pb2.WITHHELD_EXCLUDED,
    Withheld.DOWNGRADE: host_pb2.WITHHELD_DOWNGRADE,
    Withheld.PINNED: host_pb2.WITHHELD_PINNED,
}
SEVERITY: Mapping[Severity, Any] = {
    Severity.UNKNOWN: host_pb2.SEVERITY_UNSPECIFIED,
    Severity.LOW: host_pb2.SEVERITY_LOW,
    Severity.MODERATE: host_pb2.SEVERITY_MODERATE,
    Severity.IMPORTANT: host_pb2.SEVERITY_IMPORTANT,
    Severity.CRITICAL: host_pb2.SEVERITY_CRITICAL,
}
_PARTS: Mapping[int, InventoryPart] = {
    host_pb2.InventoryPart.Value(f"INVENTORY_PART_{part.name}"): part
    for part in InventoryPart
    if part is not InventoryPart.SYSTEM  # it is always asked for
}


def inventory_parts(numbers: Iterable[int]) -> tuple[InventoryPart, ...]:
    """Validated parts."""
    return tuple(_PARTS[number] for number in numbers)


def _unread_inventory(record: InventoryRecord | str, why: str) -> host_pb2.Inventory:
    host = record if isinstance(record, str) else record.host
    return host_pb2.Inventory(host=text(host), incomplete=why)


@whole(_unread_inventory, most=3 * ITEM_BYTES)
def inventory_message(record: InventoryRecord) -> host_pb2.Inventory:
    """A stored inventory as clients see it."""
    inventory = record.inventory
    return host_pb2.Inventory(
        host=record.host,
        system=_system_message(inventory.system),
        pending_updates=[pending_message(package) for package in record.pending.packages],
        packages=[
            host_pb2.InstalledPackage(name=name, version=version)
            for name, version in inventory.installed
        ],
        collected_at=timestamp(inventory.collected_at),
        hardware=_hardware_message(inventory),
        mounts=[_mount_message(mount) for mount in inventory.mounts],
        interfaces=[_interface_message(interface) for interface in inventory.interfaces],
        containers=[
            host_pb2.Container(
                name=c.name, image=c.image, image_id=c.image_id, state=c.state, health=c.health
            )
            for c in inventory.containers
        ],
        images=[
            host_pb2.Image(id=i.id, tags=i.tags, digests=i.digests, size_bytes=i.size_bytes)
            for i in inventory.images
        ],
        compose_projects=[_project_message(project) for project in inventory.projects],
        outdated_services=inventory.outdated_services or (),
        outdated_services_known=inventory.outdated_services is not None,
        sources=inventory.sources,
        missing=inventory.missing,
    )


def _project_message(project: ComposeProject) -> host_pb2.ComposeProject:
    services = [
        host_pb2.ComposeService(
            name=service.name,
            image=service.image,
            image_id=service.image_id,
            pinned=service.pinned,
            state=service.state,
            health=service.health,
        )
        for service in project.services
    ]
    return host_pb2.ComposeProject(
        path=project.path, problem=project.problem or project.obstacle, services=services
    )


def _hardware_message(inventory: Inventory) -> host_pb2.Hardware | None:
    machine, cpu, memory = inventory.machine, inventory.cpu, inventory.memory
    if machine is None and cpu is None and memory is None:
        return None
    message = host_pb2.Hardware()
    if machine is not None:
        message.vendor, message.model = machine.vendor, machine.model
        message.serial, message.hostname = machine.serial, machine.hostname
    if cpu is not None:
        message.cpu = cpu.model
        message.sockets, message.cores = cpu.sockets or 0, cpu.cores or 0
        message.threads = cpu.threads or 0
    if memory is not None:
        message.memory_bytes = memory.total_bytes
        message.available_bytes = memory.available_bytes or 0
    return message


def _mount_message(mount: Mount) -> host_pb2.Mount:
    return host_pb2.Mount(
        path=mount.path,
        device=mount.device,
        type=mount.type,
        size_bytes=mount.size_bytes,
        free_bytes=mount.free_bytes,
    )


def _interface_message(interface: Interface) -> host_pb2.Interface:
    return host_pb2.Interface(
        name=interface.name,
        mac=interface.mac,
        addresses=interface.addresses,
        mtu=interface.mtu or 0,
    )


def _system_message(system: SystemFacts) -> host_pb2.SystemFacts:
    message = host_pb2.SystemFacts(
        os_id=system.os_id,
        os_version=system.os_version,
        os_name=system.os_name,
        kernel=system.kernel,
        architecture=system.architecture,
        boot_id=system.boot_id,
        machine_id=system.machine_id,
        package_manager=system.package_manager,
        container=system.container,
        init=system.init,
        virtualization=system.virtualization,
        concluded=system.concluded,
    )
    if system.uptime is not None:
        message.uptime.CopyFrom(duration(system.uptime))
    return message


def pending_message(package: PendingPackage) -> host_pb2.PendingPackage:
    """A package with a newer version as clients see it."""
    return host_pb2.PendingPackage(
        name=package.name,
        from_version=package.from_version,
        to_version=package.to_version,
        architecture=package.architecture,
        origin=package.origin,
        security=package.security,
        withheld=_WITHHELD[package.withheld],
        advisories=[
            host_pb2.Advisory(
                id=advisory.id,
                security=advisory.security,
                severity=SEVERITY[advisory.severity],
                cves=advisory.cves,
            )
            for advisory in package.advisories
        ],
        replaces=package.replaces,
    )
