import { Page } from '../../components/Page';

export default function NewTaskPage() {
  return <Page title="NewTask">{null}</Page>;
}
