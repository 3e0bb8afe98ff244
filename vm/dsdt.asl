/*
 * The guest's DSDT: what of its machine (devices/) cannot be found by probing. Compiled at build
 * time; vm/guest_acpi.c copies it into guest memory and fills in COMS.
 */
DefinitionBlock ("", "DSDT", 2, "TITHE", "TITHEDSD", 1)
{
    /* Which serial ports there are, bit n for COM n+1: filled in for each VM. */
    Name (COMS, 0x0F)

    /* The value for SLP_TYP (devices/acpi_pm.h: ACPI_SLP_TYP_S5). */
    Name (_S5, Package () { 0, 0, 0, 0 })

    /* The interrupt model that the system uses: 0 the PICs, 1 the I/O APIC. */
    Name (MODL, 0)
    Method (_PIC, 1)
    {
        MODL = Arg0
    }

    Device (\_SB.PCI0)
    {
        Name (_HID, EisaId ("PNP0A03"))
        Name (_UID, 0)
        Name (_BBN, 0)
        Name (_CRS, ResourceTemplate ()
        {
            WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                0, 0x0000, 0x00FF, 0, 0x0100)
            IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
            WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                0, 0x0000, 0x0CF7, 0, 0x0CF8)
            WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                0, 0x0D00, 0xFFFF, 0, 0xF300)
            DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x000A0000, 0x000BFFFF, 0, 0x00020000)
            DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                0, 0xC0000000, 0xFEBFFFFF, 0, 0x3EC00000)
        })

        /* Where the four interrupt lines of the slots end with the PICs (devices/piix3.c). */
        Name (PICI, Package () { 10, 10, 11, 11 })

        /* Pin p of slot s is line (s + p - 1) mod 4: pin 16 + line of the I/O APIC. */
        Method (_PRT, 0, Serialized)
        {
            Local0 = Package (128) {}
            Local1 = 0
            While (Local1 < 128)
            {
                Local2 = Local1 >> 2
                Local3 = (Local1 + Local2 + 3) & 3
                Local4 = Package (4) { 0, 0, 0, 0 }
                Local4 [0] = (Local2 << 16) | 0xFFFF
                Local4 [1] = Local1 & 3
                If (MODL == 1)
                {
                    Local4 [3] = Local3 + 16
                }
                Else
                {
                    Local4 [3] = DerefOf (PICI [Local3])
                }
                Local0 [Local1] = Local4
                Local1++
            }
            Return (Local0)
        }

        Device (PIC)
        {
            Name (_HID, EisaId ("PNP0000"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0020, 0x0020, 1, 2)
                IO (Decode16, 0x00A0, 0x00A0, 1, 2)
                IO (Decode16, 0x04D0, 0x04D0, 1, 2)
                IRQNoFlags () { 2 }
            })
        }

        Device (DMAC)
        {
            Name (_HID, EisaId ("PNP0200"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0000, 0x0000, 1, 0x10)
                IO (Decode16, 0x0081, 0x0081, 1, 0x0F)
                IO (Decode16, 0x00C0, 0x00C0, 1, 0x20)
                DMA (Compatibility, NotBusMaster, Transfer8, ) { 4 }
            })
        }

        Device (PIT)
        {
            Name (_HID, EisaId ("PNP0100"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0040, 0x0040, 1, 4)
                IRQNoFlags () { 0 }
            })
        }

        Device (HPET)
        {
            Name (_HID, EisaId ("PNP0103"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadOnly, 0xFED00000, 0x00000400)
            })
        }

        Device (SPKR)
        {
            Name (_HID, EisaId ("PNP0800"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0061, 0x0061, 1, 1)
            })
        }

        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 1, 2)
                IRQNoFlags () { 8 }
            })
        }

        Device (KBD)
        {
            Name (_HID, EisaId ("PNP0303"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0060, 0x0060, 1, 1)
                IO (Decode16, 0x0064, 0x0064, 1, 1)
                IRQNoFlags () { 1 }
            })
        }

        Device (MOU)
        {
            Name (_HID, EisaId ("PNP0F13"))
            Name (_CRS, ResourceTemplate ()
            {
                IRQNoFlags () { 12 }
            })
        }

        /* Present, enabled, shown and working, or not there. Arg0 is the port's bit in COMS. */
        Method (CSTA, 1)
        {
            If (COMS & Arg0)
            {
                Return (0x0F)
            }
            Return (0)
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Method (_STA)
            {
                Return (CSTA (1))
            }
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 1, 8)
                IRQNoFlags () { 4 }
            })
        }

        Device (COM2)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 2)
            Method (_STA)
            {
                Return (CSTA (2))
            }
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x02F8, 0x02F8, 1, 8)
                IRQNoFlags () { 3 }
            })
        }

        Device (COM3)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 3)
            Method (_STA)
            {
                Return (CSTA (4))
            }
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03E8, 0x03E8, 1, 8)
                IRQNoFlags () { 4 }
            })
        }

        Device (COM4)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 4)
            Method (_STA)
            {
                Return (CSTA (8))
            }
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x02E8, 0x02E8, 1, 8)
                IRQNoFlags () { 3 }
            })
        }

        /* What is taken and belongs to no device: POST and delay ports, port 92, ACPI, APICs. */
        Device (BRD)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0080, 0x0080, 1, 1)
                IO (Decode16, 0x0092, 0x0092, 1, 1)
                IO (Decode16, 0x00ED, 0x00ED, 1, 1)
                IO (Decode16, 0x0600, 0x0600, 1, 0x40)
                Memory32Fixed (ReadWrite, 0xFEC00000, 0x00001000)
                Memory32Fixed (ReadWrite, 0xFEE00000, 0x00001000)
            })
        }
    }
}
