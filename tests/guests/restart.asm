; The second CPU starts as in the kernel "smp".
%include "smp.asm"
