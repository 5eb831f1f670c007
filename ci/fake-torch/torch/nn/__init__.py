from torch.nn import attention, functional
