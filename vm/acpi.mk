# The guest's DSDT, compiled to a C array. Included by the Makefile.

$(B)/dsdt.hex: vm/dsdt.asl | need-build
	@mkdir -p $(@D)
	@echo "  IASL  $<"
	@iasl -vs -we -tc -p $(@:.hex=) $< > $(@:.hex=.log) || { cat $(@:.hex=.log); exit 1; }
$(B)/vm/guest_acpi.o $(B)/host/vm/guest_acpi.o: $(B)/dsdt.hex
